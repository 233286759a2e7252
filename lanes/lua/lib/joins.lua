-- Joined keys: an event with one of them has the other one too, and so on. Uses bulk, layout and generations.
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

-- The event with the keys that its own ones were joined to.
local function with_joins(event, joins)
  local digests, all, is_added = keys_of(event), {}, {}
  for _, digest in ipairs(digests) do
    while digest and not is_added[digest] and #all < MOST_JOINS + #digests do
      is_added[digest] = true
      all[#all + 1] = digest
      digest = joins[digest]
    end
  end
  return char(#all) .. table.concat(all) .. sub(event, 2 + #digests * DIGEST_BYTES)
end
