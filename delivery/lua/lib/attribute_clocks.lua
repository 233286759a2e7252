-- Attribute clocks: by person and attribute, the client time of the value that was sent last. Uses clock, bulk and
-- generations.
--
-- What is stored of a person: for each time CLOCK_TIME_BYTES of it (Unix ms, big-endian), a byte: the number of attributes,
-- and CLOCK_NAME_BYTES of a hash of the name of each. What is stored of an address that was given to a person: the digest
-- of that person, its owner, who has the clocks of both. The lengths tell the two apart.
local MOST_OF_A_TIME = 255
local clock_generations = generations(ATTRIBUTE_CLOCKS, TIMES_KEPT_S * 1000)
local stored_clocks, clocks = {}, {} -- by digest: what is stored, or false; the times by name
local changed_clocks, cleared_clocks = {}, {}

-- Read what is stored of these digests, and of their owners, at once.
local function read_clocks(digests)
  local asked, owners = {}, {}
  for _, digest in ipairs(digests) do
    if stored_clocks[digest] == nil then
      stored_clocks[digest], asked[#asked + 1] = false, digest
    end
  end
  for _, name in ipairs(clock_generations) do
    for i, found in ipairs(read_all('HMGET', name, asked)) do
      stored_clocks[asked[i]] = stored_clocks[asked[i]] or found
    end
  end
  for _, digest in ipairs(asked) do
    local found = stored_clocks[digest]
    owners[#owners + 1] = found and #found == DIGEST_BYTES and found or nil
  end
  if #owners > 0 then
    read_clocks(owners)
  end
end

-- The digest that has the clocks of this person or address.
local function owner_of(digest)
  local found = stored_clocks[digest]
  return found and #found == DIGEST_BYTES and found or digest
end

-- The times by name of an owner, which the caller may change.
local function clock_of(owner)
  local clock = clocks[owner]
  if not clock then
    clock = {}
    local found, at = stored_clocks[owner] or '', 1
    while at < #found do
      local stored, names_at = sub(found, at, at + CLOCK_TIME_BYTES - 1), at + CLOCK_TIME_BYTES + 1
      at = names_at + byte(found, names_at - 1) * CLOCK_NAME_BYTES
      for name_at = names_at, at - 1, CLOCK_NAME_BYTES do
        clock[sub(found, name_at, name_at + CLOCK_NAME_BYTES - 1)] = stored
      end
    end
    clocks[owner] = clock
  end
  return clock
end

-- A stored time in ms.
local function ms_of(stored)
  local a, b, c, d, e, f = byte(stored, 1, CLOCK_TIME_BYTES)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end

local function set_clock(owner, name, stored)
  clock_of(owner)[name], changed_clocks[owner] = stored, true
end

-- From now on this owner has the clocks of the address. Those of a lead, who has the address alone, are taken along. Those
-- of another owner are not: the address has moved.
local function give_address(address, owner)
  if owner_of(address) == address then
    local clock = clock_of(owner)
    for name, stored in pairs(clock_of(address)) do
      if not clock[name] or ms_of(clock[name]) < ms_of(stored) then
        set_clock(owner, name, stored)
      end
    end
  end
  stored_clocks[address], clocks[address], changed_clocks[address] = owner, nil, true
end

-- A merge at `stored`, a time. The primary inherits the attributes that it lacks. Of the others its own values stay,
-- whatever the secondary was given before the merge.
local function merge_clocks(secondary, primary, stored)
  if secondary == primary then
    return
  end
  local own = {}
  for name in pairs(clock_of(primary)) do
    own[#own + 1] = name
  end
  for name, time in pairs(clock_of(secondary)) do
    if not clock_of(primary)[name] then
      set_clock(primary, name, time)
    end
  end
  for _, name in ipairs(own) do
    local time = clock_of(secondary)[name]
    if not time or ms_of(time) < ms_of(stored) then
      set_clock(secondary, name, stored)
    end
  end
end

local function clear_clock(digest)
  stored_clocks[digest], clocks[digest], changed_clocks[digest] = false, nil, nil
  cleared_clocks[#cleared_clocks + 1] = digest
end

-- An owner as it is stored: of too many attributes those with the latest times.
local function packed_clock(clock)
  local times, names_of, pieces, left = {}, {}, {}, MOST_CLOCKS
  for name, stored in pairs(clock) do
    local names = names_of[stored]
    if not names then
      names = {}
      times[#times + 1], names_of[stored] = stored, names
    end
    names[#names + 1] = name
  end
  table.sort(times, function(a, b)
    return ms_of(a) > ms_of(b)
  end)
  for _, stored in ipairs(times) do
    local names = names_of[stored]
    local last = math.min(#names, left)
    left = left - last
    for from = 1, last, MOST_OF_A_TIME do
      local to = math.min(last, from + MOST_OF_A_TIME - 1)
      pieces[#pieces + 1] = stored .. char(to - from + 1) .. table.concat(names, '', from, to)
    end
  end
  return table.concat(pieces)
end

local function write_clocks()
  for _, name in ipairs(clock_generations) do
    write_all('HDEL', name, cleared_clocks)
  end
  local values = {}
  for digest in pairs(changed_clocks) do
    local owner = owner_of(digest)
    values[#values + 1] = digest
    values[#values + 1] = owner ~= digest and owner or packed_clock(clock_of(digest))
  end
  if #values > 0 then
    write_all('HSET', clock_generations[1], values)
    call('EXPIRE', clock_generations[1], 2 * TIMES_KEPT_S)
  end
end
