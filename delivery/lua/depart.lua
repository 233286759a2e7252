-- Let a request depart, or say how long to wait before asking again. Turns are spaced evenly by the destination's rate,
-- over all workers together. Whoever comes late to a turn meets those that are on time, so the last departures are kept
-- as well, as many as one second allows: the next one waits until the first of them is a second ago.
--
-- KEYS[1]  the gate; its name and `:departed` is that of the list of the last departures, µs, the latest first
-- ARGV[1]  the most requests per second
-- ARGV[2]  how long the caller would wait, µs
-- ARGV[3]  the turn that the caller has, µs; 0: none yet
--
-- Returns  {turn, wait, troubled}: the caller's turn; 0 when the request departs now, or µs to wait, or minus that when
--          it is too long; troubled 1 when a success should be reported
-- A rate that was cut comes back by itself, evenly, within 30 s. A little less than the limit is used: answers and clocks
-- jitter, and the service counts by its own second.
-- Clock    Redis' own.
local RECOVERY_S, SHARE = 30, 0.97
local GATE, DEPARTED = KEYS[1], KEYS[1] .. ':departed'
local limit, patience, turn = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local gate = redis.call('HMGET', GATE, 'turn', 'rate', 'rate_at', 'failures', 'state')
local troubled = (gate[4] or gate[5]) and 1 or 0

if turn == 0 then
  turn = math.max(tonumber(gate[1] or 0), now)
  if turn - now > patience then
    return { 0, now - turn, troubled }
  end
  local rate, rate_at = tonumber(gate[2] or limit), tonumber(gate[3] or now)
  rate = math.min(limit, rate + limit * (now - rate_at) / 1000000 / RECOVERY_S)
  redis.call('HSET', GATE, 'turn', string.format('%d', math.floor(turn + 1000000 / (rate * SHARE))))
end
if turn > now then
  return { turn, turn - now, troubled }
end

local most = math.ceil(limit)
local first = redis.call('LINDEX', DEPARTED, most - 1)
local wait = first and math.ceil(first + most / limit * 1000000 - now) or 0
if wait > 0 then
  return { turn, wait > patience and -wait or wait, troubled }
end
redis.call('LPUSH', DEPARTED, string.format('%d', now))
redis.call('LTRIM', DEPARTED, 0, most - 1)
return { turn, 0, troubled }
