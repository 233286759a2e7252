-- Return what a deliverer may claim: all while the circuit breaker is closed, and nothing while it is open or the
-- destination is paused, but one event as a probe when a probe is due and an event is ready. It is nothing too while the next
-- turn is further away than a request waits for one, and while an operator has paused the destination.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  for how long no other probe may begin, ms
-- ARGV[2]  the longest wait for a turn, ms
--
-- Returns  'all', 'none' or 'probe'
-- Clock    Redis' own.
-- allow-oom
-- uses clock
local state, probe_at, turn, pause_until = unpack(call('HMGET', ADMISSION, 'state', 'probe_at', 'turn', 'pause_until'))
if pause_until and now < tonumber(pause_until) then
  return 'none'
end
if turn and tonumber(turn) / 1000 - now > tonumber(ARGV[2]) then
  return 'none'
end
if not state then
  return 'all'
end
-- A probe without an event would keep the next one from beginning.
if now < tonumber(probe_at) or call('ZCOUNT', READY, '-inf', now) == 0 then
  return 'none'
end
call('HSET', ADMISSION, 'probing', '1', 'probe_at', format('%d', now + ARGV[1]))
return 'probe'
