-- Report the result of a request. The circuit breaker opens after failures in a row, and a fault of the set-up pauses the
-- destination; a response ends both. The rate is cut when the service says or shows that it is too high.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  'responded', 'failed', 'misconfigured', 'throttled' or 'slow'
-- ARGV[2]  the most requests per second, unless an operator has set another rate
-- ARGV[3]  failures in a row that open the circuit breaker
-- ARGV[4]  wait before the first probe, ms; it doubles from probe to probe
-- ARGV[5]  longest wait before a probe, ms
-- ARGV[6]  failed, throttled: how long the service asked us to wait, ms; 0: it did not ask
-- ARGV[7]  failed, misconfigured, throttled: the reason, in words
--
-- Returns  {probe_wait, change, rate}: the wait before a probe, ms, when the circuit breaker is open or the destination is
--          paused now, or 0; 'opened', 'paused', 'closed' or 'resumed' when this result made it so, 'probe_failed' when a
--          probe failed, or ''; the rate in text when it was cut, or ''
-- Clock    Redis' own.
-- allow-oom
-- uses clock
local RECOVERY_S, CUT_EVERY_MS, LOWEST_RATE = 30, 1000, 1
local THROTTLED_CUT, SLOW_CUT = 0.5, 0.9
local result, asked = ARGV[1], tonumber(ARGV[6])

---- Read and decide ----

local names = { 'state', 'probing', 'probe_wait', 'rate', 'rate_at', 'cut_at', 'failures', 'turn', 'wait_until' }
local state, probing, probe_wait, rate, rate_at, cut_at, failures, turn, wait_until =
  unpack(call('HMGET', ADMISSION, unpack(names)))
local limit, limit_until = unpack(call('HMGET', ADMISSION, 'limit', 'limit_until'))
limit = tonumber(limit and now < tonumber(limit_until) and limit or ARGV[2])
local changes = {}
local function change(name, value)
  changes[#changes + 1] = name
  changes[#changes + 1] = type(value) == 'number' and format('%d', value) or value
end

-- Requests that were in progress when the breaker opened fail as well, which is no news; only the failure of a probe is.
local function stop(new_state)
  local is_news = not state or probing
  if is_news then
    probe_wait = math.min(state and tonumber(probe_wait) * 2 or tonumber(ARGV[4]), tonumber(ARGV[5]))
    change('state', new_state)
    change('reason', ARGV[7])
    change('reason_at', now)
    change('probe_wait', probe_wait)
    change('probe_at', now + math.max(probe_wait, asked))
  end
  return is_news
end

local new_rate = ''
local function cut(share)
  if now - tonumber(cut_at or 0) >= CUT_EVERY_MS then
    local elapsed_s = rate_at and (now * 1000 - rate_at) / 1000000 or 0
    local current = math.min(limit, tonumber(rate or limit) + limit * elapsed_s / RECOVERY_S)
    new_rate = tostring(math.max(current * share, LOWEST_RATE))
    change('rate', new_rate)
    change('rate_at', now * 1000)
    change('cut_at', now)
  end
end

-- The next turn is so far away that nothing is claimed before. A service that responds to one request may refuse another
-- one, so a success does not end the wait.
local function wait_as_asked()
  change('turn', math.max(tonumber(turn or 0), (now + asked) * 1000))
  if now + asked > tonumber(wait_until or 0) then
    change('wait_until', now + asked)
    change('wait_reason', ARGV[7])
  end
end

local stops, is_stopped = false, state
if result == 'responded' then
  is_stopped = false
elseif result == 'failed' then
  failures = tonumber(failures or 0) + 1
  change('failures', failures)
  stops = failures >= tonumber(ARGV[3]) and stop('open')
elseif result == 'misconfigured' then
  stops = stop('paused')
elseif result == 'throttled' then
  cut(THROTTLED_CUT)
  change('throttled_at', now)
  if state then
    change('reason', ARGV[7])
    change('reason_at', now)
  end
else
  cut(SLOW_CUT)
end
if asked > 0 then
  wait_as_asked()
end

local news = ''
if result == 'responded' then
  news = state == 'open' and 'closed' or state and 'resumed' or ''
elseif stops then
  news = not state and (result == 'failed' and 'opened' or 'paused') or 'probe_failed'
end

---- Write ----

if result == 'responded' then
  call('HDEL', ADMISSION, 'state', 'reason', 'reason_at', 'since', 'probing', 'probe_at', 'probe_wait', 'failures')
end
if result == 'throttled' then
  call('HINCRBY', ADMISSION, 'throttled', 1)
end
if #changes > 0 then
  call('HSET', ADMISSION, unpack(changes))
end
if stops then
  call('HSETNX', ADMISSION, 'since', format('%d', now))
  call('HDEL', ADMISSION, 'probing')
end
return { (is_stopped or stops) and tonumber(probe_wait) or 0, news, new_rate }
