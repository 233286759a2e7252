-- Acquire a turn for a request, or return how long to wait before asking again. Turns are spaced evenly by the
-- destination's rate, over all workers together. A request that is late for its turn meets those that are on time. So the
-- times of the last requests are kept too, as many as one second allows. The next request waits until the first of them
-- is a second old.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  the most requests per second, unless an operator has set another rate
-- ARGV[2]  how long the caller would wait, µs
-- ARGV[3]  the turn that the caller has, µs; 0: none yet
--
-- Returns  {turn, wait, had_failures}: the caller's turn; 0 when the request may be sent now, or µs to wait, or minus that
--          when it is too long; had_failures 1 when a response must be reported
-- A rate that was cut recovers by itself, evenly, within 30 s. A little less than the limit is used: responses and clocks
-- jitter, and the service counts by its own second.
-- Clock    Redis' own.
-- allow-oom
-- uses clock
local RECOVERY_S, SHARE, SECOND_US = 30, 0.97, 1000000
local patience, turn = tonumber(ARGV[2]), tonumber(ARGV[3])
local now_us = time[1] * SECOND_US + time[2]

---- Read and decide ----

local names = { 'turn', 'rate', 'rate_at', 'failures', 'state', 'pause_until', 'limit', 'limit_until' }
local known = call('HMGET', ADMISSION, unpack(names))
local had_failures = (known[4] or known[5]) and 1 or 0
if known[6] and now < tonumber(known[6]) then
  return { -1, 0, had_failures }
end
local limit = tonumber(known[7] and now < tonumber(known[8]) and known[7] or ARGV[1])
local next_turn = nil
if turn == 0 then
  turn = math.max(tonumber(known[1] or 0), now_us)
  if turn - now_us > patience then
    return { 0, now_us - turn, had_failures }
  end
  local rate, rate_at = tonumber(known[2] or limit), tonumber(known[3] or now_us)
  rate = math.min(limit, rate + limit * (now_us - rate_at) / SECOND_US / RECOVERY_S)
  next_turn = format('%d', math.floor(turn + SECOND_US / (rate * SHARE)))
end

local most, wait = math.ceil(limit), turn - now_us
local is_early = wait > 0
if not is_early then
  local first = call('LINDEX', ACQUIRED, most - 1)
  wait = first and math.max(math.ceil(first + most / limit * SECOND_US - now_us), 0) or 0
end

---- Write ----

if next_turn then
  call('HSET', ADMISSION, 'turn', next_turn)
end
if wait == 0 then
  call('LPUSH', ACQUIRED, format('%d', now_us))
  call('LTRIM', ACQUIRED, 0, most - 1)
end
return { turn, not is_early and wait > patience and -wait or wait, had_failures }
