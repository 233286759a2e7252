-- Drop from the end of the delivery log what is too much and what is too old.
--
-- KEYS[1]  the log: a list, the newest entry first, each beginning with its time in ms, 13 digits
-- ARGV[1]  the most entries
-- ARGV[2]  the greatest age, ms
--
-- Returns  1
-- Clock    Redis' own.
local MOST_AT_ONCE = 1000
local most = tonumber(ARGV[1])
if most == 0 then
  redis.call('DEL', KEYS[1])
  return 1
end
redis.call('LTRIM', KEYS[1], 0, most - 1)
local time = redis.call('TIME')
local oldest = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[2]
for _ = 1, MOST_AT_ONCE do
  local last = redis.call('LINDEX', KEYS[1], -1)
  if not last or tonumber(string.sub(last, 1, 13)) >= oldest then
    return 1
  end
  redis.call('RPOP', KEYS[1])
end
return 1
