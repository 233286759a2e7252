-- Register updates that are about to be sent, and return what is remembered of the people of a claim. Each update gets its
-- time, and of its attributes those are chosen that are to be sent.
--
-- Time: later than the last one registered for its keys and its people, but not further ahead of now than MOST_AHEAD_S;
-- there they are equal. OLDEST_S and MOST_AHEAD_S together are TIMES_KEPT_S, so that a time that was forgotten is never later
-- than the one given next. History keeps its own time: an update older than OLDEST_S, of which no attribute to be sent is
-- remembered. The service may have newer values, and keeps them. One that is at most SLACK_S older than the last update is
-- an ordinary update that waited long.
--
-- Attributes: see chosen_attributes.lua. Addresses that belong to another person: see address_conflicts.lua.
--
-- Cooldown: an update that changes identifiers (identifier_changes.lua) must have one, unless such an identifier is
-- unbounded. An update that has none yet is returned, and is not registered, nor are the updates behind it: they are all
-- claimed again.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  how long merges and deletions are remembered, ms
-- ARGV[2]  '1' when an update that changes identifiers must have a cooldown
-- ARGV[3]  how many changes of one identifier have a cooldown, within two to four hours
-- ARGV[4]  the digests of the people, in one text
-- ARGV[5]  a byte for each of them: '1' when an update of a trusted source names the person
-- ARGV[…]  for each event with updates: its sequence; its time and the latest it may have (Unix seconds); a byte: how it
--          treats people that do not exist; how many keys the event has, and the digest of each; how many identifiers it
--          gives, and two for each: its digest, and how it is given (identifier_changes.lua); how many people and objects it
--          updates, and a text for each (chosen_attributes.lua)
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
-- uses clock, bulk, generations, attribute_clocks, merges, identified, identifier_changes, address_conflicts, chosen_attributes
local OLDEST_S, MOST_AHEAD_S, SLACK_S = 3600, 3600, 60
local now_s = tonumber(time[1])
local times, changing, kept, owners, conflicting = {}, {}, {}, {}, {} -- as they are returned

---- Read and decide: the people ----

end_merges(ARGV[4], ARGV[5])

local people, merged, deleted = #ARGV[4] / DIGEST_BYTES, {}, {}
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

---- Read: what is remembered of keys, people and addresses ----

local first, last = 6, #ARGV -- the arguments of events
local asked, people_of = {}, {}
local at = first
while at <= last do
  local first_identifier = at + 6 + ARGV[at + 4]
  local first_person = first_identifier + 2 * ARGV[first_identifier - 1] + 1
  asked[#asked + 1] = TIME_OF .. ARGV[at]
  for i = at + 5, first_identifier - 2 do
    local digest = ARGV[i]
    if remembered_of[digest] == nil then
      remembered_of[digest] = false
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
  if remembered_of[owner] == nil then
    remembered_of[owner], asked[#asked + 1] = false, owner
  end
end
read_identified(asked)
open_conflicts()

-- Which people were created or updated before this call.
local known = {}
for i = 1, people do
  local remembered = remembered_of[digest_of(i)]
  known[i] = remembered and sub(remembered, MODE, MODE) == CREATES and '1' or '0'
end

---- Decide: the updates ----

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
local most_changes = tonumber(ARGV[3])
local given, is_behind = {}, {} -- by sequence: what it is given, as fields have it; the keys of updates that must wait
local is_new, values = {}, {} -- the keys of which something else is remembered from now on; fields and values to write
at = first
while at <= last do
  local sequence, mode, from, first_identifier = ARGV[at], ARGV[at + 3], at + 5, at + 6 + ARGV[at + 4]
  local to, first_person = first_identifier - 2, first_identifier + 2 * ARGV[first_identifier - 1] + 1
  local last_identifier, next_at = first_person - 2, first_person + ARGV[first_person - 1]

  -- What the event was given before, if it was; `mask`: '' for all attributes, else a byte for each. And the last time of
  -- its keys.
  local overtaken, before, must_wait = remembered_of[TIME_OF .. sequence], 0, false
  local sent_at, mask
  if overtaken then
    sent_at, mask = match(overtaken, '^(%-?%d+)/?([01]*)$')
  end
  for i = from, to do
    local remembered = remembered_of[ARGV[i]]
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

  -- The attributes of each person and object that it updates.
  local choices, sent, is_known, some_stale = {}, {}, false, false
  for i = first_person, next_at - 1 do
    local choice = choose(ARGV[i])
    local remembered = remembered_of[choice.owner]
    choices[#choices + 1], sent[#sent + 1], some_stale = choice, choice.sent, some_stale or choice.stale_address
    is_known, before = is_known or choice.is_known, math.max(before, remembered and sub(remembered, 1, MODE - 1) or 0)
  end
  local chosen = table.concat(sent)
  if not mask or (mask ~= '' and #mask ~= #chosen) then -- new, or mapped otherwise since
    mask = chosen
  end

  -- It must wait for its cooldown, or behind an update that does.
  if not must_wait and ARGV[2] == '1' then
    for i = first_identifier, last_identifier, 2 do
      local digest, remembered = ARGV[i], remembered_of[ARGV[i]]
      local how = some_stale and how_given(digest, ARGV[i + 1], choices) or not some_stale and ARGV[i + 1]
      local changes = remembered and how and changes_identifier(remembered, mode, how, from, to)
      if changes and not is_beyond_bound(digest, most_changes, first) then
        must_wait = call('HEXISTS', COOLDOWN, sequence) == 0
        changing[#changing + 1] = must_wait and sequence or nil
        changes_of[digest], has_changed[digest] = changes_of[digest] + (must_wait and 0 or 1), not must_wait or nil
        break
      end
    end
  end

  -- What it is given.
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

  -- What is remembered of its addresses, people, identifiers and keys from now on.
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
      local remembered = remembered_of[ARGV[i]]
      local how = some_stale and how_given(ARGV[i], ARGV[i + 1], choices) or not some_stale and ARGV[i + 1]
      local had = remembered and sub(remembered, PARTNER, PARTNER_END) or UNKNOWN
      partner_of[ARGV[i]] = how and partner_after(had, how, from, to)
    end
    local latest = math.max(before, sent_at, 0)
    local suffix = (latest ~= sent_at or mask ~= '') and '/' .. given[sequence] or ''
    for i = from, to do
      local digest = ARGV[i]
      local remembered = remembered_of[digest]
      local of = remembered and registered(remembered)
      if of and given[of] then
        values[#values + 1], values[#values + 2] = TIME_OF .. of, given[of]
      end
      local partner = partner_of[digest] or (remembered and sub(remembered, PARTNER, PARTNER_END)) or UNKNOWN
      local kept_mode = mode == MERGES and remembered and sub(remembered, MODE, MODE) or mode
      remembered_of[digest], is_new[digest] = format('%010d', latest) .. kept_mode .. partner .. sequence .. suffix, true
    end
    for _, choice in ipairs(choices) do
      local remembered = remembered_of[choice.owner]
      if remembered and tonumber(sub(remembered, 1, MODE - 1)) < latest then
        remembered_of[choice.owner], is_new[choice.owner] = with_time(remembered, latest), true
      end
    end
  end
  at = next_at
end
for digest in pairs(is_new) do
  values[#values + 1], values[#values + 2] = digest, remembered_of[digest]
end

---- Write ----

write_ended(ARGV[1])
write_clocks()
write_changes()
write_conflicts()
local new_unbounded = count_new_unbounded()
if new_unbounded > 0 then
  call('HINCRBY', TOTAL, 'unbounded_keys', new_unbounded)
end
write_identified(values)
return { merged, deleted, times, changing, kept, owners, unbounded, new_unbounded, table.concat(known), conflicting }
