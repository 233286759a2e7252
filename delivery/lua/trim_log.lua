-- Remove from the end of the delivery log what exceeds the number of entries, and what is too old.
--
-- KEYS[1]  base name of the queue. The log has the newest entry first, each begins with its time in ms
-- ARGV[1]  the most entries
-- ARGV[2]  the greatest age, ms
--
-- Returns  1
-- Clock    Redis' own.
-- allow-oom
-- uses clock
local MOST_AT_ONCE = 1000
local length, oldest = call('LLEN', LOG), now - ARGV[2]
local kept = math.min(length, tonumber(ARGV[1]))
for _ = 1, math.min(kept, MOST_AT_ONCE) do
  if tonumber(sub(call('LINDEX', LOG, kept - 1 - length), 1, TIME_DIGITS)) >= oldest then
    break
  end
  kept = kept - 1
end

if kept == 0 then
  call('DEL', LOG)
elseif kept < length then
  call('LTRIM', LOG, 0, kept - 1)
end
return 1
