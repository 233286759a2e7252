-- Whether a deliverer may claim: the gate of a destination is open, shut, or shut but due for a probe. It counts as shut
-- while the next turn is too far away for anybody to wait for it.
--
-- KEYS[1]  the gate
-- ARGV[1]  how long a probe has the gate to itself, ms
-- ARGV[2]  the longest wait for a turn, ms
--
-- Returns  'open', 'shut' or 'probe'
-- Clock    Redis' own.
local state, probe_at, turn = unpack(redis.call('HMGET', KEYS[1], 'state', 'probe_at', 'turn'))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if turn and tonumber(turn) / 1000 - now > tonumber(ARGV[2]) then
  return 'shut'
end
if not state then
  return 'open'
end
if now < tonumber(probe_at) then
  return 'shut'
end
redis.call('HSET', KEYS[1], 'probing', '1', 'probe_at', string.format('%d', now + ARGV[1]))
return 'probe'
