-- Return the events of expired leases to their place, each with one more death to its name: when the lease ended, and
-- whose claim it was.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  most claims to reap in this call
--
-- Returns  {events returned, wake}: wake 1 when there is ready work that nobody was asked for just now
-- Clock    Redis' own.
local base = KEYS[1]
local READY, HINT_MS = base .. ':ready', 200

local time = redis.call('TIME')
local now = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))

local returned = 0
local expired = redis.call('ZRANGEBYSCORE', base .. ':claims', '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
for at = 1, #expired, 2 do
  local claim, death = expired[at], string.format('%d %s\n', expired[at + 1], expired[at])
  for _, name in ipairs(redis.call('SMEMBERS', base .. ':claim:' .. claim)) do
    redis.call('HSET', base .. ':expired_claims', name, (redis.call('HGET', base .. ':expired_claims', name) or '') .. death)
    local place = redis.call('HGET', base .. ':links', name)
    if not place or string.byte(place) == 0 then
      redis.call('ZADD', READY, now, name)
    end
    returned = returned + 1
  end
  redis.call('DEL', base .. ':claim:' .. claim)
  redis.call('ZREM', base .. ':claims', claim)
end
if returned > 0 then
  redis.call('HINCRBY', base .. ':total', 'reaped', string.format('%d', returned))
end

local due = redis.call('ZCOUNT', READY, '-inf', now)
local wake = due > 0 and redis.call('SET', base .. ':wakeup', '1', 'PX', HINT_MS, 'NX')
return { returned, wake and 1 or 0 }
