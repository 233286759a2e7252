-- Remove the entries that a ledger has written from the end of the delivery log, up to the first one that is another.
--
-- KEYS[1]  base name of the queue
-- ARGV     the ids of the entries, the oldest first. An erasure may have removed some of them, or items of them
--
-- Returns  the number of entries that were removed
-- Clock    none.
-- allow-oom
local is_written, removed = {}, 0
for _, id in ipairs(ARGV) do
  is_written[id] = true
end
local entry = call('LINDEX', LOG, -1)
while entry and is_written[sub(entry, TIME_DIGITS + 1, TIME_DIGITS + ULID_CHARACTERS)] do
  call('RPOP', LOG)
  removed = removed + 1
  entry = call('LINDEX', LOG, -1)
end
return removed
