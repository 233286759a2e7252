-- Remove letters that stand in a file by now, and note which: those of the file that are not noted are not its own. A
-- letter that holds stays, and all do once the file is closed.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  the file
-- ARGV[2…] sequences
--
-- Returns  how many were removed
local base, call = KEYS[1], redis.call
local NOTES = base .. ':spilled:' .. ARGV[1]
if call('SISMEMBER', NOTES, 'open') == 0 then
  return 0
end

local removed = 0
for at = 2, #ARGV do
  local name = ARGV[at]
  if call('SISMEMBER', base .. ':claim:held', name) == 0 and call('HDEL', base .. ':dead', name) == 1 then
    call('HDEL', base .. ':letter', name)
    call('ZREM', base .. ':grave', name)
    call('SADD', NOTES, name)
    removed = removed + 1
  end
end
call('HINCRBY', base .. ':total', 'spilled', removed)
return removed
