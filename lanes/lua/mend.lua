-- Replace the body of a dead letter, and its reason. Its ordering keys stay: they say where it stands.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  sequence
-- ARGV[2]  new body
-- ARGV[3]  new letter
--
-- Returns  1, or 0 when there is no such letter
local base, name = KEYS[1], ARGV[1]
local DIGEST, KEY_COUNT = 8, 14
local record = redis.call('HGET', base .. ':dead', name)
if not record then
  return 0
end
local mended = string.sub(record, 1, KEY_COUNT + string.byte(record, KEY_COUNT) * DIGEST) .. ARGV[2]
redis.call('HSET', base .. ':dead', name, mended)
redis.call('HSET', base .. ':letter', name, ARGV[3])
if redis.call('SISMEMBER', base .. ':claim:held', name) == 1 then
  redis.call('HSET', base .. ':event', name, mended)
end
return 1
