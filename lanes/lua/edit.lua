-- Replace the body of a dead letter, and its reason, unless somebody else changed it meanwhile. Its ordering keys stay:
-- they say where it stands.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  sequence
-- ARGV[2]  the body as it was read
-- ARGV[3]  the letter as it was read
-- ARGV[4]  new body
-- ARGV[5]  new letter
--
-- Returns  1, or 0 when there is no such letter any more
local base, name = KEYS[1], ARGV[1]
local DIGEST, KEY_COUNT = 8, 14
local record = redis.call('HGET', base .. ':dead', name)
if not record or redis.call('HGET', base .. ':failure', name) ~= ARGV[3] then
  return 0
end
local keys_end = KEY_COUNT + string.byte(record, KEY_COUNT) * DIGEST
if string.sub(record, keys_end + 1) ~= ARGV[2] then
  return 0
end
local mended = string.sub(record, 1, keys_end) .. ARGV[4]
redis.call('HSET', base .. ':dead', name, mended)
redis.call('HSET', base .. ':failure', name, ARGV[5])
redis.call('INCR', base .. ':dead_changes')
if redis.call('SISMEMBER', base .. ':claim:blocking', name) == 1 then
  redis.call('HSET', base .. ':event', name, mended)
end
return 1
