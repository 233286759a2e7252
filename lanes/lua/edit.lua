-- Replace the body and the failure of a dead letter, unless another caller changed it meanwhile. Its ordering keys stay:
-- they are its position.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  sequence
-- ARGV[2]  the body as it was read
-- ARGV[3]  the failure as it was read
-- ARGV[4]  new body
-- ARGV[5]  new failure
--
-- Returns  1, or 0 when there is no such dead letter any more
-- uses records
local name = ARGV[1]
local record = call('HGET', DEAD, name)
if not record or call('HGET', FAILURE, name) ~= ARGV[3] then
  return 0
end
local _, keys_end = digests_of(record)
if sub(record, keys_end + 1) ~= ARGV[2] then
  return 0
end
local edited, blocks = sub(record, 1, keys_end) .. ARGV[4], call('SISMEMBER', BLOCKING, name) == 1

call('HSET', DEAD, name, edited)
call('HSET', FAILURE, name, ARGV[5])
call('INCR', DEAD_CHANGES)
if blocks then
  call('HSET', EVENT, name, edited)
end
return 1
