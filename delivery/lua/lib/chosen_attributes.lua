-- Which attributes of an update are to be sent: one is left out when a value with a later client time was sent. Uses
-- attribute_clocks, merges, identified, identifier_changes and address_conflicts.
--
-- The update of a person or an object is a text: the digest of the person; that of the address that belongs to the person by
-- this update, or NO_ADDRESS; a byte: GIVEN when the first attribute is that address, GIVEN_BY_CIO_ID when it is and the
-- person is named by cio_id, ADDRESSED when the update names the person by the address; the client time; the hash of the
-- name of each attribute.
local NO_ADDRESS, GIVEN, ADDRESSED, GIVEN_BY_CIO_ID = string.rep('\0', DIGEST_BYTES), '1', '2', '3'
local ADDRESS, ROLE = DIGEST_BYTES + 1, 2 * DIGEST_BYTES + 1
local NAMES = ROLE + CLOCK_TIME_BYTES + 1
local SENT, STALE, SENT_BYTE = '1', '0', byte('1')

-- Return whether a value of this client time is to be sent, and whether one was sent before. `clocks`: those of all the
-- people that the person was.
local function compare(clocks, name, ms)
  local is_newest, is_known = true, false
  for i = 1, #clocks do
    local stored = clocks[i][name]
    if stored then
      is_newest, is_known = is_newest and ms_of(stored) <= ms, true
    end
  end
  return is_newest, is_known
end

-- Add the clock of an owner, unless it is empty.
local function add_clock(clocks, owner)
  local clock = clock_of(owner)
  clocks[#clocks + 1] = next(clock) and clock or nil
end

-- Choose the attributes of an update, a text as above. Return `owner`: the digest under which its clock is; `sent`: a byte
-- for each attribute, SENT or STALE; `is_known`: whether one that is to be sent was sent before; `address`: that of which
-- the owner gets the clock, or false; `stale_address`: the address, when it is not sent because a newer one was, else nil;
-- `given`: the address, when it is sent, else false; `named`: the digest of the person whose address it would be;
-- `conflicts`: whether it conflicts; `by_cio_id`; `text`; `time`: the client time.
--
-- An update of a merged person must be newer than the values of the primary as well. One of a person who takes over a lead
-- must be newer than the values of the lead, but for the address: the lead is found by it. A person who is named by an
-- address and has an id already keeps it.
local function choose(text)
  local person, address, role = sub(text, 1, ADDRESS - 1), sub(text, ADDRESS, ROLE - 1), sub(text, ROLE, ROLE)
  local time, names_at, sent, is_known, stale_address = sub(text, ROLE + 1, NAMES - 1), NAMES, '', false, nil
  local given, by_cio_id = address, role == GIVEN_BY_CIO_ID
  local named = owner_of(some_merged and select(2, primary_of(person)) or person)
  local conflicts = given ~= NO_ADDRESS and not by_cio_id and is_conflict(given, named, role == ADDRESSED)
  if role == ADDRESSED and owner_of(address) ~= address then
    person, address = address, NO_ADDRESS
  end
  local primary = some_merged and select(2, primary_of(person)) or person
  local owner, ms, clocks = owner_of(primary), ms_of(time), {}
  add_clock(clocks, owner)
  if primary ~= person then
    add_clock(clocks, owner_of(person))
  end
  if role == GIVEN or by_cio_id then
    names_at = NAMES + CLOCK_NAME_BYTES
    local is_newest, was_sent = compare(clocks, sub(text, NAMES, names_at - 1), ms)
    sent, is_known, stale_address = is_newest and SENT or STALE, is_newest and was_sent, not is_newest and address or nil
  end
  conflicts = conflicts and not stale_address
  local gains_address = address ~= NO_ADDRESS and address ~= owner and not stale_address and not conflicts
  if gains_address and owner_of(address) == address then
    add_clock(clocks, address)
  end
  if #clocks == 0 then
    sent = sent .. string.rep(SENT, (#text - names_at + 1) / CLOCK_NAME_BYTES)
  else
    local each = { sent }
    for at = names_at, #text, CLOCK_NAME_BYTES do
      local is_newest, was_sent = compare(clocks, sub(text, at, at + CLOCK_NAME_BYTES - 1), ms)
      each[#each + 1], is_known = is_newest and SENT or STALE, is_known or is_newest and was_sent
    end
    sent = table.concat(each)
  end
  return {
    owner = owner,
    address = gains_address and address,
    stale_address = stale_address,
    conflicts = conflicts,
    given = given ~= NO_ADDRESS and not stale_address and given,
    named = named,
    by_cio_id = by_cio_id,
    text = text,
    time = time,
    sent = sent,
    is_known = is_known,
  }
end

-- Record the values that a choice sends.
local function keep(choice)
  if choice.address then
    give_address(choice.address, choice.owner)
  end
  local clock, text, sent, time = clock_of(choice.owner), choice.text, choice.sent, choice.time
  for i = 1, #sent do
    if byte(sent, i) == SENT_BYTE then
      local name_at = NAMES + (i - 1) * CLOCK_NAME_BYTES
      clock[sub(text, name_at, name_at + CLOCK_NAME_BYTES - 1)] = time
    end
  end
  changed_clocks[choice.owner] = next(clock) and true or nil
end

-- Return how an event of these choices gives an identifier: nil for an address that is not sent, and its person has none.
-- `how`: its argument says, see identifier_changes.lua.
local function how_given(digest, how, choices)
  for _, choice in ipairs(choices) do
    local stale = choice.stale_address
    if digest == stale then
      return nil
    elseif stale and how == TOGETHER .. sub(stale, 1, PARTNER_END - PARTNER + 1) then
      return NAMED
    end
  end
  return how
end
