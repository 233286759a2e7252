-- Register updates that are about to be sent, and return what is remembered of the people of a claim. Each update gets its
-- time: later than the last one registered for its keys, but not further ahead of now than MOST_AHEAD_S; there they are
-- equal. OLDEST_S and MOST_AHEAD_S together are TIMES_KEPT_S, so that a time that was forgotten is never later than the one
-- given next.
--
-- An update *changes identifiers* when it connects an identifier to another one than the last update did, or updates only
-- where that one created, or the other way round. It must have a cooldown. One that has none yet is returned, and is not
-- registered, nor are the updates behind it: they are all claimed again.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  how long merges and deletions are remembered, ms
-- ARGV[2]  '1' when an update that changes identifiers must have a cooldown
-- ARGV[3]  the digests of the people, in one text
-- ARGV[…]  for each event with updates: its sequence; its time and the latest it may have (Unix seconds); a byte: how it
--          treats people that do not exist; how many keys the event has, and the digest of each; how many identifiers it
--          gives, and two for each: its digest, and a byte (see `partner_after`) with the first 3 of the digest of its
--          partner, the identifier given with it
--
-- Returns  {merged, deleted, times, changing}: by person, '' or the JSON of the primary, '' or the time of the deletion in
--          ms (an empty array when no person was merged or deleted); by event, the time to send, Unix seconds, or 0; the
--          sequences of those that change identifiers and have no cooldown yet
-- Clock    Redis' own.
-- uses clock, bulk, generations
local OLDEST_S, MOST_AHEAD_S, MOST_MERGES = 3600, 3600, 20
local TOGETHER, NAMED, FIRST_CLAIMS = '=', '.', '1' -- and '?': alone
local UNKNOWN, NO_PARTNER, ANY_PARTNER = '...', '---', '***'
local MODE, PARTNER, PARTNER_END, SEQUENCE = 11, 12, 14, 15
local TIME_OF = 'time of ' -- longer than a digest with whatever follows
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

local function primary_of(digest)
  local primary, is_passed = '', {}
  for _ = 1, MOST_MERGES do
    is_passed[digest] = true
    local found = find_in(merged_names, digest)
    if not found then
      return primary
    end
    digest, primary = sub(found, 1, DIGEST_BYTES), sub(found, DIGEST_BYTES + 1)
    if is_passed[digest] then
      return primary
    end
  end
  return primary
end

local merged, deleted, times, changing = {}, {}, {}, {}
local people = #ARGV[3] / DIGEST_BYTES
local function digest_of(i)
  return sub(ARGV[3], (i - 1) * DIGEST_BYTES + 1, i * DIGEST_BYTES)
end
for i = 1, some_merged and people or 0 do
  merged[i] = primary_of(digest_of(i))
end
for i = 1, some_deleted and people or 0 do
  deleted[i] = find_in(deleted_names, digest_of(i)) or ''
end

---- Read and decide: the updates ----

-- What is remembered of a key: 10 digits of the time of its last update; a byte: how that treats people that do not exist;
-- 3 bytes of its partner; the sequence of its event. All are read at once, and written at once.
local names = generations(IDENTIFIED, TIMES_KEPT_S * 1000)
local found, asked = {}, {}
local first, last = 4, #ARGV
local at = first
while at <= last do
  local first_identifier = at + 6 + ARGV[at + 4]
  asked[#asked + 1] = TIME_OF .. ARGV[at]
  for i = at + 5, first_identifier - 2 do
    local digest = ARGV[i]
    if found[digest] == nil then
      found[digest] = false
      asked[#asked + 1] = digest
    end
  end
  at = first_identifier + 2 * ARGV[first_identifier - 1]
end
for _, name in ipairs(names) do
  local values = read_all('HMGET', name, asked)
  for i = 1, #asked do
    found[asked[i]] = found[asked[i]] or values[i]
  end
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
  if rule ~= FIRST_CLAIMS and sub(remembered, MODE, MODE) ~= mode then
    return true
  end
  local has_partner = rule == TOGETHER or rule == FIRST_CLAIMS
  return has_partner and had ~= UNKNOWN and had ~= ANY_PARTNER and not is_own_key(had, from, to)
end

-- An event keeps its time, as it may be sent again: the last one of a key in the key's field, those that it overtook within
-- this call, which may all be sent again together, in fields of their own.
local given, is_behind, is_new, values = {}, {}, {}, {}
at = first
while at <= last do
  local sequence, mode, from, first_identifier = ARGV[at], ARGV[at + 3], at + 5, at + 6 + ARGV[at + 4]
  local to, next_at = first_identifier - 2, first_identifier + 2 * ARGV[first_identifier - 1]
  local sent_at = math.max(math.min(ARGV[at + 1], ARGV[at + 2]), now_s - OLDEST_S)
  local same_event, must_wait = tonumber(found[TIME_OF .. sequence] or nil), false
  for i = from, to do
    local remembered = found[ARGV[i]]
    must_wait = must_wait or is_behind[ARGV[i]]
    if remembered then
      local of, before = sub(remembered, SEQUENCE), tonumber(sub(remembered, 1, MODE - 1))
      if of == sequence then
        same_event = before
      else
        sent_at = math.max(sent_at, before, math.min(before + 1, now_s + MOST_AHEAD_S))
      end
    end
  end
  if not must_wait and ARGV[2] == '1' then
    for i = first_identifier, next_at - 1, 2 do
      local remembered = found[ARGV[i]]
      if remembered and changes_identifier(remembered, mode, ARGV[i + 1], from, to) then
        must_wait = call('HEXISTS', COOLDOWN, sequence) == 0
        changing[#changing + 1] = must_wait and sequence or nil
        break
      end
    end
  end
  if must_wait then
    for i = from, to do
      is_behind[ARGV[i]] = true
    end
    times[#times + 1] = 0
  else
    sent_at = same_event or sent_at
    given[sequence] = format('%d', sent_at)
    times[#times + 1] = math.floor(sent_at)
  end
  if not must_wait and not same_event then
    local partner_of = {}
    for i = first_identifier, next_at - 1, 2 do
      local remembered = found[ARGV[i]]
      local had = remembered and sub(remembered, PARTNER, PARTNER_END) or UNKNOWN
      partner_of[ARGV[i]] = partner_after(had, ARGV[i + 1], from, to)
    end
    for i = from, to do
      local digest = ARGV[i]
      local remembered = found[digest]
      local overtaken = remembered and sub(remembered, SEQUENCE)
      if overtaken and given[overtaken] then
        values[#values + 1], values[#values + 2] = TIME_OF .. overtaken, given[overtaken]
      end
      local partner = partner_of[digest] or (remembered and sub(remembered, PARTNER, PARTNER_END)) or UNKNOWN
      found[digest], is_new[digest] = given[sequence] .. mode .. partner .. sequence, true
    end
  end
  at = next_at
end
for digest in pairs(is_new) do
  values[#values + 1], values[#values + 2] = digest, found[digest]
end

---- Write ----

if #values > 0 then
  write_all('HSET', names[1], values)
  call('EXPIRE', names[1], 2 * TIMES_KEPT_S)
end
return { merged, deleted, times, changing }
