-- Reserve the next turn to send: turns are spaced evenly by the destination's rate, over all workers together.
--
-- KEYS[1]  the gate
-- ARGV[1]  the most requests per second
-- ARGV[2]  how long the caller would wait, µs
--
-- Returns  {wait, troubled}: µs until the turn, or minus that when it is too long and none was reserved; troubled 1 when
--          a success should be reported
-- A rate that was cut comes back by itself, evenly, within 30 s. A little less than the limit is used: answers and clocks
-- jitter, and the service counts by its own second.
-- Clock    Redis' own.
local RECOVERY_S, SHARE = 30, 0.98
local limit = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local gate = redis.call('HMGET', KEYS[1], 'turn', 'rate', 'rate_at', 'failures', 'state')
local turn, rate, rate_at = tonumber(gate[1] or 0), tonumber(gate[2] or limit), tonumber(gate[3] or now)
rate = math.min(limit, rate + limit * (now - rate_at) / 1000000 / RECOVERY_S)
turn = math.max(turn, now)
local wait = turn - now
if wait > tonumber(ARGV[2]) then
  return { -wait, 0 }
end
redis.call('HSET', KEYS[1], 'turn', string.format('%d', math.floor(turn + 1000000 / (rate * SHARE))))
return { wait, (gate[4] or gate[5]) and 1 or 0 }
