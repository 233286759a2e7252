-- Remove dead letters, and count what became of them.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  their fate, see fates.lua; '': they wait again
-- ARGV[2…] sequences
--
-- Returns  how many there were
-- allow-oom
-- uses bulk, records, dead_letters, fates, dead_letter_fates
local names = { unpack(ARGV, 2) }
local records = read_all('HMGET', DEAD, names)
count_dead_letters(names, records, ARGV[1])

local removed_count = dead_letters.remove(names, records) -- removing comes first, see settle.lua
write_fates()
return removed_count
