-- Follow the clock of Redis when it has stepped back since the last call, as after a failover: what was to come comes that
-- much earlier, so nothing waits for the clock.
--
-- KEYS[1]  base name of the queue
--
-- Returns  by how many ms it stepped back, 0 usually
-- Clock    Redis' own.
-- allow-oom
-- uses clock, bulk
local STEP_MS = 1000
local TIMES = { 'turn', 'rate_at', 'probe_at' } -- the last one in ms, the others in µs

---- Read and decide ----

local back = (call('GET', CLOCK) or now) - now
if back <= STEP_MS then
  call('SET', CLOCK, format('%d', now))
  return 0
end

local moved = {}
for _, key in ipairs({ READY, CLAIMS }) do
  local later = call('ZRANGEBYSCORE', key, '(' .. now, '+inf', 'WITHSCORES')
  for at = 1, #later, 2 do
    later[at], later[at + 1] = later[at + 1] - back, later[at]
  end
  moved[key] = later
end
local times = call('HMGET', ADMISSION, unpack(TIMES))

---- Write. Removing comes first, see settle.lua ----

call('DEL', WAKEUP, ACQUIRED)
for key, scores in pairs(moved) do
  write_all('ZADD', key, scores)
end
for i, field in ipairs(TIMES) do
  if times[i] then
    call('HINCRBY', ADMISSION, field, format('%d', -back * (field == 'probe_at' and 1 or 1000)))
  end
end
call('SET', CLOCK, format('%d', now))
return back
