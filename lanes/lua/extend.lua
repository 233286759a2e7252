-- Extend the lease of a claim, if the claim still exists.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  claim id
-- ARGV[2]  lease from now, ms
--
-- Returns  1, or 0 when there is no such claim (it was reaped, or all of it was settled)
-- Clock    Redis' own.
-- allow-oom
-- uses clock
if not call('ZSCORE', CLAIMS, ARGV[1]) then
  return 0
end
call('ZREM', CLAIMS, ARGV[1]) -- removing comes first, see settle.lua
call('ZADD', CLAIMS, now + ARGV[2], ARGV[1])
return 1
