-- Remove from the end of the delivery log what exceeds the number of entries or the share of memory, and what is too old.
--
-- KEYS[1]  base name of the queue. The log has the newest entry first, each begins with its time in ms
-- ARGV[1]  the most entries
-- ARGV[2]  the greatest age, ms
-- ARGV[3]  the most of Redis' `maxmemory` that the log may use, from 0 to 1; it is measured on the newest entries
--
-- Returns  1
-- Clock    Redis' own.
-- allow-oom
-- uses clock
local MOST_AT_ONCE, MEASURED = 1000, 1000
local length, oldest = call('LLEN', LOG), now - ARGV[2]
local kept = math.min(length, tonumber(ARGV[1]))
-- A user of Redis may have no right to these two commands: then the number of entries is the only limit.
local info, used = redis.pcall('INFO', 'memory'), redis.pcall('MEMORY', 'USAGE', LOG, 'SAMPLES', MEASURED)
if type(info) == 'string' and type(used) == 'number' then
  local limit = string.match(info, 'maxmemory:(%d+)') * ARGV[3]
  if limit > 0 and used > limit then
    kept = math.min(kept, math.floor(length * limit / used))
  end
end
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
