-- Give a claim more time, if it still exists.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  claim id
-- ARGV[2]  lease from now, ms
--
-- Returns  1, or 0 when the claim is gone (reaped, or all of it settled)
-- Clock    Redis' own.
local claims = KEYS[1] .. ':claims'
if not redis.call('ZSCORE', claims, ARGV[1]) then
  return 0
end
local time = redis.call('TIME')
redis.call('ZADD', claims, string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]), ARGV[1])
return 1
