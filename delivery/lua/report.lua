-- Report how a send went: the gate shuts when the service is dead or the set-up is at fault, opens with the first answer,
-- and the rate falls when the service says or shows that it is too much.
--
-- KEYS[1]  the gate
-- ARGV[1]  'answered', 'failed', 'refused', 'throttled' or 'slow'
-- ARGV[2]  the most requests per second
-- ARGV[3]  failures in a row that shut the gate
-- ARGV[4]  wait before the first probe, ms; it doubles from probe to probe
-- ARGV[5]  longest wait before a probe, ms
-- ARGV[6]  throttled: how long the service asked us to wait, ms
-- ARGV[7]  failed, refused: why, in words
--
-- Returns  1 when the gate is shut now
-- Clock    Redis' own.
local GATE, what, limit = KEYS[1], ARGV[1], tonumber(ARGV[2])
local RECOVERY_S, CUT_EVERY_MS, LOWEST_RATE = 30, 1000, 1
local THROTTLED_CUT, SLOW_CUT = 0.5, 0.9
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function number(n)
  return string.format('%d', n)
end

-- What was under way when the gate was shut fails as well, and says nothing new; only a probe does.
local function shut(state)
  local was, probing, wait = unpack(redis.call('HMGET', GATE, 'state', 'probing', 'probe_wait'))
  if was and not probing then
    return
  end
  wait = math.min(was and tonumber(wait) * 2 or tonumber(ARGV[4]), tonumber(ARGV[5]))
  redis.call('HSET', GATE, 'state', state, 'reason', ARGV[7], 'probe_wait', number(wait), 'probe_at', number(now + wait))
  redis.call('HSETNX', GATE, 'since', number(now))
  redis.call('HDEL', GATE, 'probing')
end

local function cut(share)
  local rate, rate_at, cut_at = unpack(redis.call('HMGET', GATE, 'rate', 'rate_at', 'cut_at'))
  if now - tonumber(cut_at or 0) < CUT_EVERY_MS then
    return
  end
  local elapsed_s = rate_at and (now * 1000 - rate_at) / 1000000 or 0
  local current = math.min(limit, tonumber(rate or limit) + limit * elapsed_s / RECOVERY_S)
  redis.call('HSET', GATE, 'rate', tostring(math.max(current * share, LOWEST_RATE)), 'rate_at', number(now * 1000),
    'cut_at', number(now))
end

if what == 'answered' then
  redis.call('HDEL', GATE, 'state', 'reason', 'since', 'probing', 'probe_at', 'probe_wait', 'failures')
elseif what == 'failed' then
  local failures = redis.call('HINCRBY', GATE, 'failures', 1)
  if failures >= tonumber(ARGV[3]) then
    shut('open')
  end
elseif what == 'refused' then
  shut('paused')
elseif what == 'throttled' then
  cut(THROTTLED_CUT)
  local turn = tonumber(redis.call('HGET', GATE, 'turn') or 0)
  redis.call('HSET', GATE, 'turn', number(math.max(turn, (now + ARGV[6]) * 1000)))
else
  cut(SLOW_CUT)
end
return redis.call('HEXISTS', GATE, 'state')
