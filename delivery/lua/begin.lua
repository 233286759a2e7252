-- End an open breaker or a pause that came about with another set-up.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  set-up: configuration and address
-- ARGV[2…] the fields of a stop
--
-- Returns  how many of these fields there were
-- allow-oom
if call('HGET', ADMISSION, 'set_up') == ARGV[1] then
  return 0
end
local ended = call('HDEL', ADMISSION, unpack(ARGV, 2))
call('HSET', ADMISSION, 'set_up', ARGV[1])
return ended
