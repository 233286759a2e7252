-- Remove from the end of the delivery log what exceeds the number of entries or the share of memory, and what is too old.
-- While a ledger runs, or did not run for less than the greatest age, the number is no limit: it has to write the entries.
--
-- KEYS[1]  base name of the queue. The log has the newest entry first, each begins with its time in ms
-- ARGV[1]  the most entries
-- ARGV[2]  the greatest age, ms
-- ARGV[3]  the most of Redis' `maxmemory` that the log may use, from 0 to 1; it is measured on the newest entries
-- ARGV[4]  the most bytes for a ledger, where Redis has no `maxmemory`
--
-- A log that is trimmed no more, as its destination is not configured any more, ends within an hour of the greatest age.
--
-- Returns  {has_ledger, discarded}: 1 when entries are kept for a ledger; the number of entries that were removed unwritten
-- Clock    Redis' own.
-- allow-oom
-- uses clock
local MOST_AT_ONCE, MEASURED, LONGER_MS = 1000, 1000, 3600000
local length, oldest = call('LLEN', LOG), now - ARGV[2]
local has_ledger = tonumber(call('HGET', LEDGER, 'seen_ms') or 0) > oldest
local kept, is_measured, ends_in_ms = length, false, call('PTTL', LOG)
-- A user of Redis may have no right to these two commands: then the number of entries is the only limit.
local info, used = redis.pcall('INFO', 'memory'), redis.pcall('MEMORY', 'USAGE', LOG, 'SAMPLES', MEASURED)
if type(info) == 'string' and type(used) == 'number' then
  local limit = string.match(info, 'maxmemory:(%d+)') * ARGV[3]
  is_measured = true
  if limit == 0 and has_ledger then
    limit = tonumber(ARGV[4])
  end
  if limit > 0 and used > limit then
    kept = math.floor(length * limit / used)
  end
end
if not (has_ledger and is_measured) then
  kept = math.min(kept, tonumber(ARGV[1]))
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
if ends_in_ms < tonumber(ARGV[2]) then
  call('PEXPIRE', LOG, ARGV[2] + LONGER_MS)
end
local discarded = has_ledger and length - kept or 0
if discarded > 0 then
  call('HINCRBY', LEDGER, 'discarded', discarded)
  call('HSET', LEDGER, 'discarded_ms', format('%d', now))
end
return { has_ledger and 1 or 0, discarded }
