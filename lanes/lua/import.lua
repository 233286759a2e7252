-- Add dead letters from elsewhere. Each keeps its sequence unless another event has it; one that exists is not added.
--
-- KEYS[1]  base name of the queue
-- ARGV[…]  five per dead letter: its sequence or '', its record, its failure, and the names under which it is counted as a
--          dead letter and as accepted: see fates.lua
--
-- Returns  how many were added
-- uses bulk, fates
local before = tonumber(call('GET', SEQ) or 0)
local last = before
local dead, failures, index, buried_as, added = {}, {}, {}, {}, {} -- added: records by sequence

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
    dead[#dead + 1], dead[#dead + 2] = name, record
    failures[#failures + 1], failures[#failures + 2] = name, ARGV[at + 2]
    index[#index + 1], index[#index + 2] = name, name
    buried_as[#buried_as + 1], buried_as[#buried_as + 2] = name, ARGV[at + 3]
    local second = sub(record, 1, 10)
    fates.count(second, ARGV[at + 3], 1)
    fates.count(second, ARGV[at + 4], 1)
    fates.open(second, 1, name)
  end
end

---- Write ----

write_all('HSET', DEAD, dead)
write_all('HSET', FAILURE, failures)
write_all('ZADD', DEAD_INDEX, index)
write_all('HSET', BURIED_AS, buried_as)
fates.write()
if last > before then
  call('INCRBY', SEQ, format('%d', last - before))
end
return #dead / 2
