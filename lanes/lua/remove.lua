-- Remove dead letters, and count what became of them.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  their fate, see fates.lua; '': they wait again
-- ARGV[2…] sequences
--
-- Returns  how many there were
-- allow-oom
-- uses bulk, fates
local names, removed = { unpack(ARGV, 2) }, {}
local records = read_all('HMGET', DEAD, names)
for i = 1, #names do
  removed[#removed + 1] = records[i] and names[i] or nil
end
fates.count_dead_letters(names, records, ARGV[1])

write_all('HDEL', DEAD, removed) -- removing comes first, see settle.lua
write_all('HDEL', FAILURE, removed)
write_all('HDEL', BURIED_AS, removed)
write_all('ZREM', DEAD_INDEX, removed)
fates.write()
return #removed
