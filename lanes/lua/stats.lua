-- Return the figures of a queue, at a cost that does not depend on its size (but on the number of open claims).
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  how many hot lanes to name
--
-- Returns  {waiting, ready, delayed, claimed, blocking, claims, dead, age in ms of the oldest event or -1, totals as field
--          and value alternating, hot lanes as digest and length alternating, the longest first}
-- Clock    Redis' own.
-- uses clock
local at, claimed = format('%d', now), 0
local claims = call('ZRANGE', CLAIMS, 0, -1)
for _, claim in ipairs(claims) do
  claimed = claimed + call('SCARD', CLAIM .. claim)
end
local oldest = call('ZRANGE', AGES, 0, 0)[1]
local blocking = call('SCARD', BLOCKING)
return {
  call('HLEN', EVENT) - blocking,
  call('ZCOUNT', READY, '-inf', at),
  call('ZCOUNT', READY, '(' .. at, '+inf'),
  claimed,
  blocking,
  #claims,
  call('HLEN', DEAD),
  oldest and now - oldest * 1000 or -1,
  call('HGETALL', TOTAL),
  call('ZREVRANGE', HOT, 0, ARGV[1] - 1, 'WITHSCORES'),
}
