-- An update *changes identifiers* when it connects an identifier to another one than the last update did, or updates only
-- where that one created, or the other way round. An identifier that is connected to others more often than it may, with
-- those changes that this call contains, is *unbounded*: its changes need no cooldown any more. Uses bulk, generations and
-- identified.
--
-- How an event gives an identifier: a byte, and the start of the digest of its partner. The byte says whether the two are
-- given TOGETHER, the identifier is only NAMED, its partner is the one that FIRST_CLAIMS it, or it is alone: '?'.
local TOGETHER, NAMED, FIRST_CLAIMS = '=', '.', '1'
local changes_names -- the generations of IDENTIFIER_CHANGES
local changes_ahead -- by digest: how often the identifier changes from event to event of this call; nil before it is counted
local changes_of, has_changed = {}, {} -- by digest: the count of this generation, and true when that is to be written
local unbounded, is_unbounded, new_count = {}, {}, 0 -- digests; by digest; how many were not unbounded before

-- Whether one of the arguments `from` to `to`, the keys of an event, begins with the start of the digest of a partner.
local function is_own_key(partner, from, to)
  for i = from, to do
    if sub(ARGV[i], 1, #partner) == partner then
      return true
    end
  end
  return false
end

-- Return the partner of an identifier from now on. `had`: its partner until now; `how`: as the event gives it; `from`, `to`:
-- see `is_own_key`. One that is only NAMED leaves it unchanged. One that is alone does so too, but it was seen without a
-- partner. A visitor belongs to the person that FIRST_CLAIMS it: when another one claims it and has had its cooldown, the
-- first claim has been applied, and no later one has an effect.
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

-- Whether an event changes an identifier. `remembered`: of the identifier; `mode`: how the event treats people that do not
-- exist; `how`, `from`, `to`: see `partner_after`.
local function changes_identifier(remembered, mode, how, from, to)
  local rule, had = sub(how, 1, 1), sub(remembered, PARTNER, PARTNER_END)
  local mode_before = sub(remembered, MODE, MODE)
  if rule ~= FIRST_CLAIMS and mode_before ~= mode and mode_before ~= MERGES then
    return true
  end
  local has_partner = rule == TOGETHER or rule == FIRST_CLAIMS
  return has_partner and had ~= UNKNOWN and had ~= ANY_PARTNER and not is_own_key(had, from, to)
end

-- Count `changes_ahead`. `first`: the position of the first event among the arguments of register.lua.
local function count_changes(first)
  changes_ahead = {}
  local mode_of, partner_of, next_event, last = {}, {}, first, #ARGV
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

-- Whether an identifier that changes is unbounded. `most`: how many changes of it have a cooldown; `first`: see
-- `count_changes`.
local function is_beyond_bound(digest, most, first)
  if is_unbounded[digest] == nil then
    if not changes_ahead then
      changes_names = generations(IDENTIFIER_CHANGES, TIMES_KEPT_S * 1000)
      count_changes(first)
    end
    local current, older = call('HGET', changes_names[1], digest) or 0, call('HGET', changes_names[2], digest) or 0
    changes_of[digest] = tonumber(current)
    is_unbounded[digest] = current + older + math.max(changes_ahead[digest] or 0, 1) > most
    if is_unbounded[digest] then
      unbounded[#unbounded + 1] = digest
      new_count = new_count + (current + older <= most and 1 or 0)
      changes_of[digest], has_changed[digest] = most + 1, true
    end
  end
  return is_unbounded[digest]
end

-- Return how many of `unbounded` were not so before this call.
local function count_new_unbounded()
  return new_count
end

local function write_changes()
  if next(has_changed) then
    local counts = {}
    for digest in pairs(has_changed) do
      counts[#counts + 1], counts[#counts + 2] = digest, changes_of[digest]
    end
    write_all('HSET', changes_names[1], counts)
    call('EXPIRE', changes_names[1], 2 * TIMES_KEPT_S)
  end
end
