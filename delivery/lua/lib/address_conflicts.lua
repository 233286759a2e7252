-- An update *conflicts* when the address that it gives belongs to another person, by what was sent: to one with an id, or to
-- a lead while the person of the update has another address. The service accepts such an update, and does not give the
-- address to its person.
--
-- Since some updates give an address in vain, what differs from the partners that are remembered is stored: by person, the
-- start of the digest of the address that the person has, or UNKNOWN; by address, OF_LEAD or OF_UNKNOWN. Uses bulk,
-- generations, attribute_clocks, merges and identified.
local OF_LEAD, OF_UNKNOWN = 'lead', '' -- unknown: it was given by cio_id, which may be that of any id
local conflict_names -- the generations of ADDRESS_CONFLICTS
local some_conflicts, new_conflicts = false, {} -- whether any are stored; those of this call

-- Begin with what exists.
local function open_conflicts()
  conflict_names = generations(ADDRESS_CONFLICTS, TIMES_KEPT_S * 1000)
  some_conflicts = call('EXISTS', unpack(conflict_names)) > 0
end

-- Return what differs of a person or an address; nil or false when nothing does.
local function conflict_of(digest)
  return new_conflicts[digest] or some_conflicts and find_in(conflict_names, digest)
end

-- Whether the person has an address, and not this one.
local function has_another(person, address)
  local own = conflict_of(person) or known_partner(person)
  return own ~= UNKNOWN and own ~= NO_PARTNER and own ~= start_of(address)
end

-- Whether an update that gives the address to this person conflicts. `by_address`: it names the person by the address.
local function is_conflict(address, person, by_address)
  local holder = owner_of(address)
  if holder == person then
    return false
  end
  local known = conflict_of(address)
  if known == OF_UNKNOWN or is_gone(holder) then
    return false
  elseif holder ~= address then -- it has an id
    return (conflict_of(holder) or known_partner(holder)) == start_of(address)
  end
  return (known or by_address or known_partner(address) == NO_PARTNER) and has_another(person, address)
end

-- Remember what an update that gives an address changes of that. `choice`: see `choose` in chosen_attributes.lua.
local function remember_conflict(choice)
  local address, person = choice.given, choice.named
  local holder = owner_of(address)
  if choice.by_cio_id then
    new_conflicts[address] = OF_UNKNOWN
  elseif choice.conflicts then
    new_conflicts[person] = conflict_of(person) or known_partner(person)
    new_conflicts[address] = holder == address and OF_LEAD or nil
  elseif holder ~= address and holder ~= person or has_another(person, address) then
    new_conflicts[person] = UNKNOWN -- the workspace says whether an address may be changed by id
  end
end

local function write_conflicts()
  if next(new_conflicts) then
    local addresses = {}
    for address, giver in pairs(new_conflicts) do
      addresses[#addresses + 1], addresses[#addresses + 2] = address, giver
    end
    write_all('HSET', conflict_names[1], addresses)
    call('EXPIRE', conflict_names[1], 2 * TIMES_KEPT_S)
  end
end
