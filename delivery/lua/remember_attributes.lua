-- Remember the attributes of updates, for the updates that follow.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  for how long, ms (up to twice that)
-- ARGV[2…] two per person: their digest, and the attributes, in the caller's bytes
--
-- Returns  1
-- Clock    Redis' own.
-- allow-oom
-- uses clock, generations
local name, values = generations(RECENT_ATTRIBUTES, ARGV[1])[1], {}
for at = 2, #ARGV, 2 do
  values[at - 1], values[at] = ARGV[at], format('%013d', now) .. ARGV[at + 1]
end
call('HSET', name, unpack(values))
call('PEXPIRE', name, 2 * ARGV[1])
return 1
