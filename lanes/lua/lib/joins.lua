-- Joined keys: an event with one of them has the other one too, and so on. Uses bulk.
local MOST_JOINS = 20

-- The digests of an event's keys. `event`: a record without its time.
local function keys_of(event)
  local digests = {}
  for at = 2, byte(event) * DIGEST_BYTES, DIGEST_BYTES do
    digests[#digests + 1] = sub(event, at, at + DIGEST_BYTES - 1)
  end
  return digests
end

-- The key that each of these was joined to, and these in turn. `names`: the generations of JOIN.
local function read_joins(names, digests)
  local joins, asked, is_asked = {}, {}, {}
  local function ask(digest)
    if not is_asked[digest] then
      is_asked[digest] = true
      asked[#asked + 1] = digest
    end
  end
  for _, digest in ipairs(digests) do
    ask(digest)
  end
  while #asked > 0 do
    local asked_now = asked
    asked = {}
    for _, name in ipairs(names) do
      for i, other in ipairs(read_all('HMGET', name, asked_now)) do
        if other and not joins[asked_now[i]] then
          joins[asked_now[i]] = other
          ask(other)
        end
      end
    end
  end
  return joins
end

-- How many keys are joined to one, with those of this call. `names`: the generations of JOINED; `most`: how many may be.
local function new_fan_in(names, most)
  local counts, total, added, is_added, crowded_count = {}, {}, {}, {}, 0
  local function count_of(digest)
    if not counts[digest] then
      counts[digest] = tonumber(call('HGET', names[1], digest) or 0)
      total[digest] = counts[digest] + (call('HGET', names[2], digest) or 0)
    end
    return total[digest]
  end

  -- Add a join of this call: the digests of two keys, or nil; unless it is one of `joins`.
  local function add(join, joins)
    local from, to = join and sub(join, 1, DIGEST_BYTES), join and sub(join, DIGEST_BYTES + 1)
    if join and joins[from] ~= to and not is_added[join] then
      is_added[join], added[to] = true, (added[to] or 0) + 1
      crowded_count = crowded_count + (count_of(to) + added[to] == most + 1 and 1 or 0)
    end
  end

  return {
    add = add,
    is_crowded = function(digest)
      return count_of(digest) + (added[digest] or 0) > most
    end,
    crowded = function() -- how many have become so
      return crowded_count
    end,
    write = function(kept_ms)
      for digest, count in pairs(added) do
        call('HSET', names[1], digest, counts[digest] + count)
        call('PEXPIRE', names[1], kept_ms)
      end
      if crowded_count > 0 then
        call('HINCRBY', TOTAL, 'unbounded_keys', crowded_count)
      end
    end,
  }
end

-- The event with the keys that its own ones were joined to, without those to which too many are.
local function with_joins(event, joins, is_crowded)
  local digests, all, is_added = keys_of(event), {}, {}
  for _, digest in ipairs(digests) do
    while digest and not is_added[digest] and #all < MOST_JOINS + #digests do
      is_added[digest] = true
      all[#all + 1] = digest
      local other = joins[digest]
      digest = other and not is_crowded(other) and other
    end
  end
  return char(#all) .. table.concat(all) .. sub(event, 2 + #digests * DIGEST_BYTES)
end

-- Give the events of an append the keys that their own ones were joined to. A join of this call counts from its event on.
-- `fresh`: the indexes of the events; `join_of`: by index, the digests of two keys or nil; `before`: the position of the
-- argument before the first event; `names`: the generations of JOIN; `fan_in`: see `new_fan_in`. Return the events by index,
-- and the joins of this call: digest after digest.
local function join_events(fresh, join_of, before, names, fan_in)
  local own, event_of, new_joins = {}, {}, {}
  for _, index in ipairs(fresh) do
    for _, digest in ipairs(keys_of(ARGV[before + index])) do
      own[#own + 1] = digest
    end
    own[#own + 1] = join_of[index] and sub(join_of[index], DIGEST_BYTES + 1)
  end
  local joins = read_joins(names, own)
  for _, index in ipairs(fresh) do
    fan_in.add(join_of[index], joins)
  end
  for _, index in ipairs(fresh) do
    event_of[index] = with_joins(ARGV[before + index], joins, fan_in.is_crowded)
    local join = join_of[index]
    if join then
      local from, to = sub(join, 1, DIGEST_BYTES), sub(join, DIGEST_BYTES + 1)
      joins[from] = to
      new_joins[#new_joins + 1] = from
      new_joins[#new_joins + 1] = to
    end
  end
  return event_of, new_joins
end
