-- Count what the queue holds, at a cost that does not depend on how much that is (but on the number of open claims).
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  how many hot lanes to name
--
-- Returns  {waiting, ready, delayed, claimed, held, claims, dead, age in ms of the oldest event or -1, totals as field and
--          value alternating, hot lanes as digest and length alternating, the longest first}
-- Clock    Redis' own.
local base = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at = string.format('%d', now)

local claimed = 0
local claims = redis.call('ZRANGE', base .. ':claims', 0, -1)
for _, claim in ipairs(claims) do
  claimed = claimed + redis.call('SCARD', base .. ':claim:' .. claim)
end
local oldest = redis.call('ZRANGE', base .. ':ages', 0, 0)[1]
local held = redis.call('SCARD', base .. ':claim:blocking')
return {
  redis.call('HLEN', base .. ':event') - held,
  redis.call('ZCOUNT', base .. ':ready', '-inf', at),
  redis.call('ZCOUNT', base .. ':ready', '(' .. at, '+inf'),
  claimed,
  held,
  #claims,
  redis.call('HLEN', base .. ':dead'),
  oldest and now - oldest * 1000 or -1,
  redis.call('HGETALL', base .. ':total'),
  redis.call('ZREVRANGE', base .. ':hot', 0, ARGV[1] - 1, 'WITHSCORES'),
}
