-- Remove letters that stand in a file by now, and note which: those of the file that are not noted are not its own. A
-- letter that holds stays. All do once the file is closed, or when a letter was changed since they were read.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  the file
-- ARGV[2]  how often letters had been changed before these were read
-- ARGV[3…] sequences
--
-- Returns  how many were removed
local base, call = KEYS[1], redis.call
local NOTES = base .. ':spilled:' .. ARGV[1]
local changes = call('GET', base .. ':dead_changes') or '0'
if changes ~= ARGV[2] or call('SISMEMBER', NOTES, 'open') == 0 then
  return 0
end

local removed = 0
for at = 3, #ARGV do
  local name = ARGV[at]
  if call('SISMEMBER', base .. ':claim:blocking', name) == 0 and call('HDEL', base .. ':dead', name) == 1 then
    call('HDEL', base .. ':failure', name)
    call('ZREM', base .. ':dead_index', name)
    call('SADD', NOTES, name)
    removed = removed + 1
  end
end
call('HINCRBY', base .. ':total', 'spilled', removed)
return removed
