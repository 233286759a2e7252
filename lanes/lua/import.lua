-- Add dead letters from elsewhere. Each keeps its sequence unless another event has it; one that exists is not added.
--
-- KEYS[1]  base name of the queue
-- ARGV[…]  five per dead letter: its sequence or '', its record, its failure, and the names under which it is counted as a
--          dead letter and as accepted: see fates.lua
--
-- Returns  how many were added
-- uses bulk, records, dead_letters, fates
local before = tonumber(call('GET', SEQ) or 0)
local last = before
local added = {} -- records by sequence

local function is_same(known, record)
  return known and sub(known, 1, TIME_DIGITS) == sub(record, 1, TIME_DIGITS)
end

---- Read and decide ----

for at = 1, #ARGV, 5 do
  local name, record = ARGV[at], ARGV[at + 1]
  local known = name ~= '' and (added[name] or call('HGET', DEAD, name))
  if not is_same(known, record) then
    if name == '' or known or call('HEXISTS', EVENT, name) == 1 then
      name = format('%d', last + 1)
    end
    last = math.max(last, tonumber(name))
    added[name] = record
    dead_letters.add(name, record, ARGV[at + 2], ARGV[at + 3])
    local second = sub(record, 1, 10)
    count_fate(second, ARGV[at + 3], 1)
    count_fate(second, ARGV[at + 4], 1)
    count_open(second, 1, name)
  end
end

---- Write ----

dead_letters.write()
write_fates()
if last > before then
  call('INCRBY', SEQ, format('%d', last - before))
end
return dead_letters.added_count()
