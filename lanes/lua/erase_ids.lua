-- Forget message ids: they are new again.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  length of one de-duplication generation, ms
-- ARGV[2…] bucket and fingerprint of each message id, in one
--
-- Returns  how many were remembered
-- Clock    Redis' own.
local BUCKET, PRINT, GENERATIONS = 3, 6, 3
local time = redis.call('TIME')
local generation = math.floor((time[1] * 1000 + math.floor(time[2] / 1000)) / ARGV[1])

local forgotten = 0
for i = 2, #ARGV do
  local bucket, print = string.sub(ARGV[i], 1, BUCKET), string.sub(ARGV[i], BUCKET + 1)
  for back = 0, GENERATIONS + 1 do
    local seen = KEYS[1] .. ':seen:' .. generation - back
    local prints, kept = redis.call('HGET', seen, bucket) or '', {}
    for at = 1, #prints, PRINT do
      local other = string.sub(prints, at, at + PRINT - 1)
      if other ~= print then
        kept[#kept + 1] = other
      end
    end
    if #kept * PRINT < #prints then
      forgotten = forgotten + 1
      if #kept == 0 then
        redis.call('HDEL', seen, bucket)
      else
        redis.call('HSET', seen, bucket, table.concat(kept))
      end
    end
  end
end
return forgotten
