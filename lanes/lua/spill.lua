-- Remove dead letters that a file contains by now, and remember which: those of the file that are not remembered are still
-- in Redis. A dead letter that blocks stays. All stay once the file is closed, or when a dead letter was changed since they
-- were read.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  the file
-- ARGV[2]  how often dead letters had been changed before these were read
-- ARGV[3…] sequences
--
-- Returns  how many were removed
-- allow-oom
-- uses bulk, records, dead_letters, fates, dead_letter_fates
local spilled, names = SPILLED .. ARGV[1], { unpack(ARGV, 3) }
if (call('GET', DEAD_CHANGES) or '0') ~= ARGV[2] or call('SISMEMBER', spilled, 'open') == 0 then
  return 0
end
local removed, blocks = {}, read_all('SMISMEMBER', BLOCKING, names)
local removed_records = {}
for i, record in ipairs(read_all('HMGET', DEAD, names)) do
  if record and blocks[i] == 0 then
    removed[#removed + 1], removed_records[#removed + 1] = names[i], record
  end
end
count_dead_letters(removed, removed_records, 'spilled')

dead_letters.remove(removed, removed_records) -- removing comes first, see settle.lua
write_all('SADD', spilled, removed)
write_fates()
call('HINCRBY', TOTAL, 'spilled', #removed)
return #removed
