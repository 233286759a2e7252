-- Look up what became of people, and give the time of each identify: later than the last one sent for its lanes, but not
-- further ahead of now than MOST_AHEAD_S; there they are equal. OLDEST_S and MOST_AHEAD_S together are what is kept, so
-- that a time that is forgotten is never later than the one given next.
--
-- An identify *changes names* when it brings a name together with another one than the last identify did, or updates only
-- where that one created, or the other way round. It has to keep a distance. One that has no hold yet is told, and
-- nothing is kept of it, nor of those behind it: they all come again.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  how long merges and deletions are remembered, ms
-- ARGV[2]  '1' when what changes names keeps a distance
-- ARGV[3]  the digests of the people, in one text
-- ARGV[…]  for each identify: its event's sequence; its time and the latest it may have (Unix seconds); a byte: how it
--          treats people who are not there; how many lanes the event has, and the digest of each; how many names it gives,
--          and two for each: its digest, and a byte (see `partner_after`) with the first 3 of the digest of the other
--          name: enough to tell it from others, too few to tell who it is
--
-- Returns  {merged, deleted, times, changing}: by person, '' or the JSON of who the person was merged into, '' or the time
--          of the deletion in ms (nothing at all where nobody was); by identify, the time to send, Unix seconds, or 0;
--          the sequences of those that change names and have no hold yet
-- Clock    Redis' own.
local base = KEYS[1]
local DIGEST, TIMES_KEPT_S, OLDEST_S, MOST_AHEAD_S, MOST_MERGES = 8, 7200, 3600, 3600, 20
local TOGETHER, NAMED, ALONE, FIRST_COMES = '=', '.', '?', '1'
local UNKNOWN, NOBODY, EVERYBODY = '...', '---', '***'
local MODE, PARTNER, PARTNER_END, SEQUENCE = 11, 12, 14, 15
local ARGUMENTS = 4000
local sub = string.sub
local TIME_OF = 'time of ' -- longer than a digest with whatever follows
local now_s = tonumber(redis.call('TIME')[1])

local function generations(suffix, length_s)
  local generation = math.floor(now_s / length_s)
  return {
    base .. suffix .. string.format('%d', generation),
    base .. suffix .. string.format('%d', generation - 1),
  }
end

local function find(names, field)
  for _, name in ipairs(names) do
    local found = redis.call('HGET', name, field)
    if found then
      return found
    end
  end
end

local remembered_s = math.max(math.floor(ARGV[1] / 1000), 1)
local merged_names, deleted_names = generations(':merged:', remembered_s), generations(':deleted:', remembered_s)
local some_merged = redis.call('EXISTS', unpack(merged_names)) > 0
local some_deleted = redis.call('EXISTS', unpack(deleted_names)) > 0

local function merged_into(digest)
  local into, met = '', {}
  for _ = 1, MOST_MERGES do
    met[digest] = true
    local found = find(merged_names, digest)
    if not found then
      return into
    end
    digest, into = sub(found, 1, DIGEST), sub(found, DIGEST + 1)
    if met[digest] then
      return into
    end
  end
  return into
end

local merged, deleted, times, changing = {}, {}, {}, {}
local people = #ARGV[3] / DIGEST
local function digest_of(i)
  return sub(ARGV[3], (i - 1) * DIGEST + 1, i * DIGEST)
end
for i = 1, some_merged and people or 0 do
  merged[i] = merged_into(digest_of(i))
end
for i = 1, some_deleted and people or 0 do
  deleted[i] = find(deleted_names, digest_of(i)) or ''
end

-- What is remembered of a lane: 10 digits of the time of its last update; a byte: how that treats people who are not
-- there; 3 bytes of the name that this one belongs with; the sequence of its event. All are read at once, and written at
-- once.
local names = generations(':identified:', TIMES_KEPT_S)
local found, asked = {}, {}
local first, last = 4, #ARGV
local at = first
while at <= last do
  local first_name = at + 6 + ARGV[at + 4]
  asked[#asked + 1] = TIME_OF .. ARGV[at]
  for i = at + 5, first_name - 2 do
    local digest = ARGV[i]
    if found[digest] == nil then
      found[digest] = false
      asked[#asked + 1] = digest
    end
  end
  at = first_name + 2 * ARGV[first_name - 1]
end
for _, name in ipairs(names) do
  for from = 1, #asked, ARGUMENTS do
    local values = redis.call('HMGET', name, unpack(asked, from, math.min(from + ARGUMENTS - 1, #asked)))
    for i = 1, #values do
      local field = asked[from + i - 1]
      found[field] = found[field] or values[i]
    end
  end
end

local function is_lane(partner, from, to)
  for i = from, to do
    if sub(ARGV[i], 1, #partner) == partner then
      return true
    end
  end
  return false
end

-- Whom a name belongs with from now on; `had`: with whom it did. One that is only NAMED says nothing of that. One that
-- stands ALONE neither, but it was seen without the other. A visitor belongs to who FIRST_COMES: when another one claims
-- it and has kept a distance, the first claim has been applied, and no later one matters.
local function partner_after(had, how, from, to)
  local rule, partner = sub(how, 1, 1), sub(how, 2)
  if rule == NAMED then
    return had
  elseif rule == ALONE then
    return had ~= UNKNOWN and had or NOBODY
  elseif rule == FIRST_COMES and had ~= UNKNOWN and not is_lane(had, from, to) then
    return EVERYBODY
  end
  return partner
end

local function changes_name(remembered, mode, how, from, to)
  local rule, had = sub(how, 1, 1), sub(remembered, PARTNER, PARTNER_END)
  if rule ~= FIRST_COMES and sub(remembered, MODE, MODE) ~= mode then
    return true
  end
  local says_whose = rule == TOGETHER or rule == FIRST_COMES
  return says_whose and had ~= UNKNOWN and had ~= EVERYBODY and not is_lane(had, from, to)
end

-- An event keeps its time, as it may be sent again: the last one of a lane in the lane's field, those that it overtook
-- within this call, which may all be sent again together, in fields of their own.
local given, is_behind, is_new, values = {}, {}, {}, {}
at = first
while at <= last do
  local sequence, mode, from, first_name = ARGV[at], ARGV[at + 3], at + 5, at + 6 + ARGV[at + 4]
  local to, next = first_name - 2, first_name + 2 * ARGV[first_name - 1]
  local time = math.max(math.min(ARGV[at + 1], ARGV[at + 2]), now_s - OLDEST_S)
  local same_event, must_wait = tonumber(found[TIME_OF .. sequence] or nil), false
  for i = from, to do
    local remembered = found[ARGV[i]]
    must_wait = must_wait or is_behind[ARGV[i]]
    if remembered then
      local of, before = sub(remembered, SEQUENCE), tonumber(sub(remembered, 1, MODE - 1))
      if of == sequence then
        same_event = before
      else
        time = math.max(time, before, math.min(before + 1, now_s + MOST_AHEAD_S))
      end
    end
  end
  if not must_wait and ARGV[2] == '1' then
    for i = first_name, next - 1, 2 do
      local remembered = found[ARGV[i]]
      if remembered and changes_name(remembered, mode, ARGV[i + 1], from, to) then
        must_wait = redis.call('HEXISTS', base .. ':cooldown', sequence) == 0
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
    time = same_event or time
    given[sequence] = string.format('%d', time)
    times[#times + 1] = math.floor(time)
  end
  if not must_wait and not same_event then
    local partner_of = {}
    for i = first_name, next - 1, 2 do
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
  at = next
end
for digest in pairs(is_new) do
  values[#values + 1], values[#values + 2] = digest, found[digest]
end
for from = 1, #values, ARGUMENTS do
  redis.call('HSET', names[1], unpack(values, from, math.min(from + ARGUMENTS - 1, #values)))
  redis.call('EXPIRE', names[1], 2 * TIMES_KEPT_S)
end
return { merged, deleted, times, changing }
