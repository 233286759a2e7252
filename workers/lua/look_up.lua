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
-- ARGV[3]  how many people, then the digest of each
-- ARGV[…]  for each identify: its event's sequence, its time and the latest it may have (Unix seconds), a byte: how it
--          treats people who are not there, how many lanes the event has and the digest of each, how many of these are
--          brought together with another one, and two for each such: its digest; a byte, see `partner_after`, and the
--          digest of the other
--
-- Returns  {merged, deleted, times, changing}: by person, '' or the JSON of who the person was merged into, '' or the time
--          of the deletion in ms (nothing at all where nobody was); by identify, the time to send, Unix seconds, or 0;
--          the sequences of those that change names and have no hold yet
-- Clock    Redis' own.
local base = KEYS[1]
local DIGEST, TIMES_KEPT_S, OLDEST_S, MOST_AHEAD_S, MOST_MERGES = 8, 7200, 3600, 3600, 20
local ALONE, FIRST_COMES, NOBODY, EVERYBODY = '?', '1', '--------', '********'
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
local people = tonumber(ARGV[3])
for i = 1, some_merged and people or 0 do
  merged[i] = merged_into(ARGV[i + 3])
end
for i = 1, some_deleted and people or 0 do
  deleted[i] = find(deleted_names, ARGV[i + 3]) or ''
end

-- An event keeps its time, as it may be sent again: the last one of a lane in the lane's field, those that it overtook
-- within this call, which may all be sent again together, in fields of their own.
local time_names, given, at = generations(':identified:', TIMES_KEPT_S), {}, 4 + people
local function keep(values)
  redis.call('HSET', time_names[1], unpack(values))
  redis.call('EXPIRE', time_names[1], 2 * TIMES_KEPT_S)
end

-- Whom a lane's name is brought together with from now on; `had`: with whom it was, '' when that is not known. A name
-- that stands ALONE says nothing of its partner, but that it was seen without one. Of a visitor the one who FIRST_COMES
-- stays; when another one came later and kept a distance, the visitor is somebody's for good, and no claim matters.
local function partner_after(had, rule, partner, is_own)
  if rule == ALONE then
    return had ~= '' and had or NOBODY
  elseif rule == FIRST_COMES and had ~= '' and not is_own[had] then
    return EVERYBODY
  end
  return partner
end

local function changes_names(digests, mode, modes, partners, wanted, is_own)
  for _, digest in ipairs(digests) do
    local had, want = partners[digest], wanted[digest]
    if modes[digest] and modes[digest] ~= mode then
      return true
    elseif had and had ~= '' and had ~= EVERYBODY and want and sub(want, 1, 1) ~= ALONE and not is_own[had] then
      return true
    end
  end
  return false
end

local is_behind = {} -- by digest: an event of this call that changes names has this lane
local function stands_behind(digests)
  for _, digest in ipairs(digests) do
    if is_behind[digest] then
      return true
    end
  end
  return false
end

while at <= #ARGV do
  local sequence, latest, mode, lanes = ARGV[at], tonumber(ARGV[at + 2]), ARGV[at + 3], tonumber(ARGV[at + 4])
  local digests = { unpack(ARGV, at + 5, at + 4 + lanes) }
  local time = math.max(math.min(tonumber(ARGV[at + 1]), latest), now_s - OLDEST_S)
  local is_own, wanted, modes, partners = {}, {}, {}, {}
  for _, digest in ipairs(digests) do
    is_own[digest] = true
  end
  local pairs_at = at + 5 + lanes
  at = pairs_at + 1 + 2 * ARGV[pairs_at]
  for i = pairs_at + 1, at - 1, 2 do
    wanted[ARGV[i]] = ARGV[i + 1]
  end
  local same_event, values = nil, {}
  for _, name in ipairs(lanes > 0 and time_names or {}) do
    local found = redis.call('HMGET', name, TIME_OF .. sequence, unpack(digests))
    same_event = same_event or tonumber(found[1] or nil)
    for i = 2, lanes + 1 do
      local last, of, names_at = string.match(found[i] or '', '^(%d+) (%d+)()')
      if of == sequence then
        same_event = tonumber(last)
      elseif last then
        time = math.max(time, last, math.min(last + 1, now_s + MOST_AHEAD_S))
        if given[of] then
          values[#values + 1], values[#values + 2] = TIME_OF .. of, given[of]
        end
      end
      local digest = digests[i - 1]
      if last and not partners[digest] and names_at <= #found[i] then
        modes[digest], partners[digest] = sub(found[i], names_at, names_at), sub(found[i], names_at + 1)
      end
    end
  end
  local is_changing = ARGV[2] == '1'
    and not same_event
    and changes_names(digests, mode, modes, partners, wanted, is_own)
    and redis.call('HEXISTS', base .. ':hold', sequence) == 0
  if is_changing or stands_behind(digests) then
    changing[#changing + 1] = is_changing and sequence or nil
    times[#times + 1] = 0
    for _, digest in ipairs(digests) do
      is_behind[digest] = true
    end
  else
    time = same_event or time
    given[sequence] = string.format('%d', time)
    if lanes > 0 and not same_event then
      for _, digest in ipairs(digests) do
        local partner, want = partners[digest] or '', wanted[digest]
        if want then
          partner = partner_after(partner, sub(want, 1, 1), sub(want, 2), is_own)
        end
        values[#values + 1], values[#values + 2] = digest, given[sequence] .. ' ' .. sequence .. mode .. partner
      end
      keep(values)
    end
    times[#times + 1] = math.floor(time)
  end
end
return { merged, deleted, times, changing }
