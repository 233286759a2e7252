-- Register updates that are about to be sent, and return what is remembered of the people of a claim. Each update gets its
-- time, and of its attributes those are chosen that are to be sent.
--
-- Time: later than the last one registered for its keys and its people, but not further ahead of now than MOST_AHEAD_S;
-- there they are equal. OLDEST_S and MOST_AHEAD_S together are TIMES_KEPT_S, so that a time that was forgotten is never later
-- than the one given next. History keeps its own time: an update older than OLDEST_S, of which no attribute to be sent is
-- remembered. The service may have newer values, and keeps them. One that is at most SLACK_S older than the last update is
-- an ordinary update that waited long.
--
-- Attributes: one is left out when a value with a later client time was sent (attribute_clocks.lua).
--
-- Addresses: an update *conflicts* when the address that it gives belongs to another person, by what was sent: to one with
-- an id, or to a lead while the person of the update has another address. The service accepts such an update, and does not
-- give the address to its person.
--
-- An update *changes identifiers* when it connects an identifier to another one than the last update did. It does so too
-- when it updates only, and the last one created, or the other way round. It must have a cooldown. One that has none yet is
-- returned, and is not registered, nor are the updates behind it: they are all claimed again. An identifier that is
-- connected to others more often than it may, with the changes of this call, needs no cooldown any more.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  how long merges and deletions are remembered, ms
-- ARGV[2]  '1' when an update that changes identifiers must have a cooldown
-- ARGV[3]  how many changes of one identifier have a cooldown, within two to four hours
-- ARGV[4]  the digests of the people, in one text
-- ARGV[5]  a byte for each of them: '1' when an update of a trusted source names the person
-- ARGV[…]  for each event with updates: its sequence; its time and the latest it may have (Unix seconds); a byte: how it
--          treats people that do not exist; how many keys the event has, and the digest of each; how many identifiers it
--          gives, and two for each: its digest, and a byte (see `partner_after`) with the first 3 of the digest of its
--          partner, the identifier given with it; how many people and objects it updates, and a text for each (see
--          `choose`)
--
-- Returns  {merged, deleted, times, changing, kept, owners, unbounded, new unbounded, known, conflicting}
--          merged         by person: '' or the JSON of the primary; an empty array when no person was merged
--          deleted        by person: '' or the time of the deletion, ms; an empty array when no person was deleted
--          times          by event: the time to send, Unix seconds, or 0
--          changing       the sequences of events that change identifiers and have no cooldown yet
--          kept           by event: '' or a byte for each attribute, '1' when it is to be sent
--          owners         by event: the digests under which recent attributes are remembered of what it updates
--          unbounded      the digests of identifiers that changed more often than they may
--          new unbounded  how many of them had not before
--          known          a byte for each person: '1' when an update of the person was sent before; '' without updates
--          conflicting    the sequences of events with an update that conflicts
-- Clock    Redis' own.
-- allow-oom
-- uses clock, bulk, generations, attribute_clocks
local OLDEST_S, MOST_AHEAD_S, SLACK_S, MOST_MERGES = 3600, 3600, 60, 20
local TOGETHER, NAMED, FIRST_CLAIMS = '=', '.', '1' -- and '?': alone
local UNKNOWN, NO_PARTNER, ANY_PARTNER = '...', '---', '***'
local MODE, PARTNER, PARTNER_END, SEQUENCE = 11, 12, 14, 15
local REGISTERED = '^(%d+)/(%-?%d+)/?([01]*)$' -- from SEQUENCE on, see `found` below
local CREATES, UPDATES_ONLY, MERGES, TRUSTED = 'c', 'u', 'm', 't'
local TIME_OF = 'time of ' -- longer than a digest with whatever follows
local NO_ADDRESS, GIVEN, ADDRESSED, GIVEN_BY_CIO_ID = string.rep('\0', DIGEST_BYTES), '1', '2', '3'
local OF_LEAD, OF_UNKNOWN = 'lead', '' -- unknown: it was given by cio_id, which may be that of any id
local SENT, STALE, SENT_BYTE = '1', '0', byte('1')
local ADDRESS, ROLE = DIGEST_BYTES + 1, 2 * DIGEST_BYTES + 1
local NAMES = ROLE + CLOCK_TIME_BYTES + 1
local match = string.match
local now_s = tonumber(time[1])

---- Read and decide: the people ----

local function find_in(names, field)
  for _, name in ipairs(names) do
    local found = call('HGET', name, field)
    if found then
      return found
    end
  end
end

local remembered_ms = math.max(tonumber(ARGV[1]), 1000)
local merged_names, deleted_names = generations(MERGED, remembered_ms), generations(DELETED, remembered_ms)
local some_merged = call('EXISTS', unpack(merged_names)) > 0
local some_deleted = call('EXISTS', unpack(deleted_names)) > 0

-- The merges that a trusted source contradicts: it updates the person, and the merge was that of another source.
local ended = {}
for at in string.gmatch(some_merged and ARGV[5] or '', '()1') do
  local digest = sub(ARGV[4], (at - 1) * DIGEST_BYTES + 1, at * DIGEST_BYTES)
  local stored = find_in(merged_names, digest)
  if stored and sub(stored, DIGEST_BYTES + 1, DIGEST_BYTES + 1) ~= TRUSTED then
    ended[#ended + 1], ended[digest] = digest, true
  end
end

-- The JSON of the person that this one was merged into, '' without a merge; and the digest of that person.
local function primary_of(digest)
  local primary, is_passed = '', {}
  for _ = 1, MOST_MERGES do
    is_passed[digest] = true
    local found = not ended[digest] and find_in(merged_names, digest)
    if not found then
      return primary, digest
    end
    digest, primary = sub(found, 1, DIGEST_BYTES), sub(found, DIGEST_BYTES + 2)
    if is_passed[digest] then
      return primary, digest
    end
  end
  return primary, digest
end

local merged, deleted, times, changing, kept, owners = {}, {}, {}, {}, {}, {}
local people = #ARGV[4] / DIGEST_BYTES
local function digest_of(i)
  return sub(ARGV[4], (i - 1) * DIGEST_BYTES + 1, i * DIGEST_BYTES)
end
for i = 1, some_merged and people or 0 do
  merged[i] = (primary_of(digest_of(i)))
end
for i = 1, some_deleted and people or 0 do
  deleted[i] = find_in(deleted_names, digest_of(i)) or ''
end

if #ARGV == 5 and #ended == 0 then -- no updates, as of most claims: all that follows is about these
  return { merged, deleted, {}, {}, {}, {}, {}, 0, '', {} }
end

---- Read and decide: the updates ----

-- What is remembered of a key: 10 digits of the time of its last update; a byte: how that treats people that do not exist;
-- 3 bytes of its partner; the sequence of its event. `/` and the time that this event was given follow where that is an
-- earlier one or attributes are left out; in this case also `/` and a byte for each. All are read and written at once.
local names = generations(IDENTIFIED, TIMES_KEPT_S * 1000)
local found, asked, people_of = {}, {}, {}
local first, last = 6, #ARGV
local at = first
while at <= last do
  local first_identifier = at + 6 + ARGV[at + 4]
  local first_person = first_identifier + 2 * ARGV[first_identifier - 1] + 1
  asked[#asked + 1] = TIME_OF .. ARGV[at]
  for i = at + 5, first_identifier - 2 do
    local digest = ARGV[i]
    if found[digest] == nil then
      found[digest] = false
      asked[#asked + 1] = digest
    end
  end
  at = first_person + ARGV[first_person - 1]
  for i = first_person, at - 1 do
    local person, address = sub(ARGV[i], 1, ADDRESS - 1), sub(ARGV[i], ADDRESS, ROLE - 1)
    people_of[#people_of + 1] = person
    people_of[#people_of + 1] = address ~= NO_ADDRESS and address or nil
    if some_merged then
      people_of[#people_of + 1] = select(2, primary_of(person))
      people_of[#people_of + 1] = select(2, primary_of(address))
    end
  end
end
read_clocks(people_of)
for _, digest in ipairs(people_of) do
  local owner = owner_of(digest)
  if found[owner] == nil then
    found[owner], asked[#asked + 1] = false, owner
  end
end
for _, name in ipairs(names) do
  local values = read_all('HMGET', name, asked)
  for i = 1, #asked do
    found[asked[i]] = found[asked[i]] or values[i]
  end
end

-- Which people were created or updated before this call.
local known = {}
for i = 1, people do
  local remembered = found[digest_of(i)]
  known[i] = remembered and sub(remembered, MODE, MODE) == CREATES and '1' or '0'
end

-- The sequence of the event that is remembered of a key, the time that it was given, and which attributes it sends.
local function registered(remembered)
  if find(remembered, '/', SEQUENCE, true) then
    return match(remembered, REGISTERED, SEQUENCE)
  end
  return sub(remembered, SEQUENCE), sub(remembered, 1, MODE - 1), ''
end

local function is_own_key(partner, from, to)
  for i = from, to do
    if sub(ARGV[i], 1, #partner) == partner then
      return true
    end
  end
  return false
end

-- The partner of an identifier from now on; `had`: its partner until now. One that is only NAMED leaves it unchanged. One
-- that is alone does so too, but it was seen without a partner. A visitor belongs to the person that FIRST_CLAIMS it: when
-- another one claims it and has had its cooldown, the first claim has been applied, and no later one has an effect.
local function partner_after(had, how, from, to)
  local rule, partner = sub(how, 1, 1), sub(how, 2)
  if rule == NAMED then
    return had
  elseif rule ~= TOGETHER and rule ~= FIRST_CLAIMS then
    return had ~= UNKNOWN and had or NO_PARTNER
  elseif rule == FIRST_CLAIMS and had ~= UNKNOWN and not is_own_key(had, from, to) then
    return ANY_PARTNER
  end
  return partner
end

local function changes_identifier(remembered, mode, how, from, to)
  local rule, had = sub(how, 1, 1), sub(remembered, PARTNER, PARTNER_END)
  local mode_before = sub(remembered, MODE, MODE)
  if rule ~= FIRST_CLAIMS and mode_before ~= mode and mode_before ~= MERGES then
    return true
  end
  local has_partner = rule == TOGETHER or rule == FIRST_CLAIMS
  return has_partner and had ~= UNKNOWN and had ~= ANY_PARTNER and not is_own_key(had, from, to)
end

-- How often an identifier changes from event to event of this call.
local changes_ahead
local function count_changes()
  changes_ahead = {}
  local mode_of, partner_of, next_event = {}, {}, first
  while next_event <= last do
    local mode, from = ARGV[next_event + 3], next_event + 5
    local first_identifier = from + 1 + ARGV[next_event + 4]
    local first_person = first_identifier + 2 * ARGV[first_identifier - 1] + 1
    for i = first_identifier, first_person - 2, 2 do
      local digest, rule, partner = ARGV[i], sub(ARGV[i + 1], 1, 1), sub(ARGV[i + 1], 2)
      local other_mode = mode_of[digest] and mode_of[digest] ~= mode
      local other_partner = rule == TOGETHER and partner_of[digest] and partner_of[digest] ~= partner
      if rule ~= FIRST_CLAIMS then
        changes_ahead[digest] = (changes_ahead[digest] or 0) + ((other_mode or other_partner) and 1 or 0)
        mode_of[digest], partner_of[digest] = mode, rule == TOGETHER and partner or partner_of[digest]
      end
    end
    next_event = first_person + ARGV[first_person - 1]
  end
end

-- Whether an identifier changed more often than its changes may have a cooldown. It is counted when it does.
local most_changes, changes_names = tonumber(ARGV[3]), generations(IDENTIFIER_CHANGES, TIMES_KEPT_S * 1000)
local changes_of, has_changed, unbounded, is_unbounded, new_unbounded = {}, {}, {}, {}, 0
local function is_beyond_bound(digest)
  if is_unbounded[digest] == nil then
    if not changes_ahead then
      count_changes()
    end
    local current, older = call('HGET', changes_names[1], digest) or 0, call('HGET', changes_names[2], digest) or 0
    changes_of[digest] = tonumber(current)
    is_unbounded[digest] = current + older + math.max(changes_ahead[digest] or 0, 1) > most_changes
    if is_unbounded[digest] then
      unbounded[#unbounded + 1] = digest
      new_unbounded = new_unbounded + (current + older <= most_changes and 1 or 0)
      changes_of[digest], has_changed[digest] = most_changes + 1, true
    end
  end
  return is_unbounded[digest]
end

-- Whether a value of this client time is to be sent, and whether one was sent before. `clocks`: those of all the people that
-- the person was.
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

-- What differs from the partners that are remembered, since some updates give an address in vain: by person, the start of
-- the digest of the address that the person has, or UNKNOWN; by address, OF_LEAD or OF_UNKNOWN.
local conflict_names = generations(ADDRESS_CONFLICTS, TIMES_KEPT_S * 1000)
local some_conflicts, new_conflicts = call('EXISTS', unpack(conflict_names)) > 0, {}
local function conflict_of(digest)
  return new_conflicts[digest] or some_conflicts and find_in(conflict_names, digest)
end

local function start_of(digest)
  return sub(digest, 1, PARTNER_END - PARTNER + 1)
end

local function known_partner(digest)
  local remembered = found[digest]
  return remembered and sub(remembered, PARTNER, PARTNER_END) or UNKNOWN
end

local function is_gone(digest)
  return some_merged and select(2, primary_of(digest)) ~= digest or some_deleted and find_in(deleted_names, digest)
end

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

-- Remember what an update that gives an address changes of that.
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

local function add_clock(clocks, owner)
  local clock = clock_of(owner)
  clocks[#clocks + 1] = next(clock) and clock or nil
end

-- Which attributes of a person are to be sent. `text`: the digest of the person; that of the address that belongs to the
-- person by this update, or NO_ADDRESS; a byte: GIVEN when the first attribute is that address, ADDRESSED when the update
-- names the person by it; the client time; the hash of the name of each attribute.
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

-- Record the values that are to be sent.
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

-- How an identifier is given by an event of these choices: nil for an address that is not sent, and its person has none.
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

-- What is remembered of a key with a later time of its last update. Its event keeps the time that it was given.
local function with_time(remembered, time_s)
  local of, its_time, its_mask = registered(remembered)
  local mask = its_mask ~= '' and '/' .. its_mask or ''
  return format('%010d', time_s) .. sub(remembered, MODE, PARTNER_END) .. of .. '/' .. its_time .. mask
end

-- The time of an update. `own`: that of its event, 0 for a merge and for objects, which only pass times on; `before`: of the
-- last update, 0 without one; `is_known`: whether an attribute that is to be sent is remembered.
local function time_after(own, before, is_known)
  local is_history = own < now_s - OLDEST_S and not is_known and own < before - SLACK_S
  if before == 0 or is_history then
    return own
  end
  return math.max(own, before, math.min(before + 1, now_s + MOST_AHEAD_S))
end

-- An event keeps its time and its attributes, as it may be sent again. Those of the last event of a key are in the key's
-- field. The events before it in this call may be sent again together with it, so theirs are in fields of their own.
local given, is_behind, is_new, values, conflicting = {}, {}, {}, {}, {}
at = first
while at <= last do
  local sequence, mode, from, first_identifier = ARGV[at], ARGV[at + 3], at + 5, at + 6 + ARGV[at + 4]
  local to, first_person = first_identifier - 2, first_identifier + 2 * ARGV[first_identifier - 1] + 1
  local last_identifier, next_at = first_person - 2, first_person + ARGV[first_person - 1]

  local overtaken, before, must_wait = found[TIME_OF .. sequence], 0, false
  local sent_at, mask
  if overtaken then
    sent_at, mask = match(overtaken, '^(%-?%d+)/?([01]*)$')
  end
  for i = from, to do
    local remembered = found[ARGV[i]]
    must_wait = must_wait or is_behind[ARGV[i]]
    if remembered then
      local of, its_time, its_mask = registered(remembered)
      if of == sequence then
        sent_at, mask = its_time, its_mask
      end
      before = math.max(before, tonumber(sub(remembered, 1, MODE - 1)))
    end
  end
  local same_event = sent_at ~= nil

  local choices, sent, is_known, some_stale = {}, {}, false, false
  for i = first_person, next_at - 1 do
    local choice = choose(ARGV[i])
    local remembered = found[choice.owner]
    choices[#choices + 1], sent[#sent + 1], some_stale = choice, choice.sent, some_stale or choice.stale_address
    is_known, before = is_known or choice.is_known, math.max(before, remembered and sub(remembered, 1, MODE - 1) or 0)
  end
  local chosen = table.concat(sent)
  if not mask or (mask ~= '' and #mask ~= #chosen) then -- new, or mapped otherwise since
    mask = chosen
  end

  if not must_wait and ARGV[2] == '1' then
    for i = first_identifier, last_identifier, 2 do
      local remembered = found[ARGV[i]]
      local how = some_stale and how_given(ARGV[i], ARGV[i + 1], choices) or not some_stale and ARGV[i + 1]
      local digest = ARGV[i]
      if remembered and how and changes_identifier(remembered, mode, how, from, to) and not is_beyond_bound(digest) then
        must_wait = call('HEXISTS', COOLDOWN, sequence) == 0
        changing[#changing + 1] = must_wait and sequence or nil
        changes_of[digest], has_changed[digest] = changes_of[digest] + (must_wait and 0 or 1), not must_wait or nil
        break
      end
    end
  end

  local event = #times + 1
  times[event], kept[event], owners[event] = 0, '', ''
  if must_wait then
    for i = from, to do
      is_behind[ARGV[i]] = true
    end
  else
    local own = math.min(ARGV[at + 1], ARGV[at + 2])
    sent_at = math.floor(tonumber(sent_at) or time_after(own, before, is_known))
    mask = find(mask, STALE, 1, true) and mask or ''
    times[event], kept[event] = sent_at, mask
    given[sequence] = format('%d', sent_at) .. (mask ~= '' and '/' .. mask or '')
    for _, choice in ipairs(choices) do
      owners[event] = owners[event] .. choice.owner
      if choice.conflicts and conflicting[#conflicting] ~= sequence then
        conflicting[#conflicting + 1] = sequence
      end
    end
  end
  if not must_wait and not same_event then
    for _, choice in ipairs(choices) do
      if choice.given then
        remember_conflict(choice)
      end
      if mode ~= UPDATES_ONLY or next(clock_of(choice.owner)) then -- else there may be no such person, and no effect
        keep(choice)
      end
    end
    local partner_of = {}
    for i = first_identifier, last_identifier, 2 do
      local remembered = found[ARGV[i]]
      local how = some_stale and how_given(ARGV[i], ARGV[i + 1], choices) or not some_stale and ARGV[i + 1]
      local had = remembered and sub(remembered, PARTNER, PARTNER_END) or UNKNOWN
      partner_of[ARGV[i]] = how and partner_after(had, how, from, to)
    end
    local latest = math.max(before, sent_at, 0)
    local suffix = (latest ~= sent_at or mask ~= '') and '/' .. given[sequence] or ''
    for i = from, to do
      local digest = ARGV[i]
      local remembered = found[digest]
      local of = remembered and registered(remembered)
      if of and given[of] then
        values[#values + 1], values[#values + 2] = TIME_OF .. of, given[of]
      end
      local partner = partner_of[digest] or (remembered and sub(remembered, PARTNER, PARTNER_END)) or UNKNOWN
      local kept_mode = mode == MERGES and remembered and sub(remembered, MODE, MODE) or mode
      found[digest], is_new[digest] = format('%010d', latest) .. kept_mode .. partner .. sequence .. suffix, true
    end
    for _, choice in ipairs(choices) do
      local remembered = found[choice.owner]
      if remembered and tonumber(sub(remembered, 1, MODE - 1)) < latest then
        found[choice.owner], is_new[choice.owner] = with_time(remembered, latest), true
      end
    end
  end
  at = next_at
end
for digest in pairs(is_new) do
  values[#values + 1], values[#values + 2] = digest, found[digest]
end

---- Write ----

for _, name in ipairs(#ended > 0 and { merged_names[1], merged_names[2] } or {}) do
  write_all('HDEL', name, ended)
end
for _, name in ipairs(#ended > 0 and generations(JOIN, ARGV[1]) or {}) do
  write_all('HDEL', name, ended)
end
write_clocks()
if next(has_changed) then
  local counts = {}
  for digest in pairs(has_changed) do
    counts[#counts + 1], counts[#counts + 2] = digest, changes_of[digest]
  end
  write_all('HSET', changes_names[1], counts)
  call('EXPIRE', changes_names[1], 2 * TIMES_KEPT_S)
end
if next(new_conflicts) then
  local addresses = {}
  for address, giver in pairs(new_conflicts) do
    addresses[#addresses + 1], addresses[#addresses + 2] = address, giver
  end
  write_all('HSET', conflict_names[1], addresses)
  call('EXPIRE', conflict_names[1], 2 * TIMES_KEPT_S)
end
if new_unbounded > 0 then
  call('HINCRBY', TOTAL, 'unbounded_keys', new_unbounded)
end
if #values > 0 then
  write_all('HSET', names[1], values)
  call('EXPIRE', names[1], 2 * TIMES_KEPT_S)
end
return { merged, deleted, times, changing, kept, owners, unbounded, new_unbounded, table.concat(known), conflicting }
