-- What Redis keeps of dead letters. DEAD_KEYS finds those of an ordering key: a member is a digest and the digits of a
-- sequence, so the members of a digest are in the order of their events. Uses bulk and records.
local dead_letters = {}
local records, failures, index, buried_as, members = {}, {}, {}, {}, {}

local function add_members(found, name, record, score)
  for _, digest in ipairs(digests_of(record)) do
    found[#found + 1] = score
    found[#found + 1] = digest .. format('%0' .. SEQUENCE_DIGITS .. 'd', name)
  end
end

-- `fate`: nil when the event was counted before.
function dead_letters.add(name, record, failure, fate)
  records[#records + 1], records[#records + 2] = name, record
  failures[#failures + 1], failures[#failures + 2] = name, failure
  index[#index + 1], index[#index + 2] = name, name
  if fate then
    buried_as[#buried_as + 1], buried_as[#buried_as + 2] = name, fate
  end
  add_members(members, name, record, 0)
end

function dead_letters.added_count()
  return #records / 2
end

function dead_letters.write()
  write_all('HSET', DEAD, records)
  write_all('HSET', FAILURE, failures)
  write_all('ZADD', DEAD_INDEX, index)
  write_all('ZADD', DEAD_KEYS, members)
  write_all('HSET', BURIED_AS, buried_as)
end

-- `found`: their records, false where there is no dead letter. Return how many there were.
function dead_letters.remove(names, found)
  local removed, removed_members = {}, {}
  for i, name in ipairs(names) do
    if found[i] then
      removed[#removed + 1] = name
      add_members(removed_members, name, found[i], nil)
    end
  end
  write_all('HDEL', DEAD, removed)
  write_all('HDEL', FAILURE, removed)
  write_all('HDEL', BURIED_AS, removed)
  write_all('ZREM', DEAD_INDEX, removed)
  write_all('ZREM', DEAD_KEYS, removed_members)
  return #removed
end
