-- Look up what became of people, and give the time of each identify: later than the last one sent for its lanes, but not
-- further ahead of now than MOST_AHEAD_S; there they are equal. OLDEST_S and MOST_AHEAD_S together are what is kept, so
-- that a time that is forgotten is never later than the one given next.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  how long merges and deletions are remembered, ms
-- ARGV[2]  how many people, then the digest of each
-- ARGV[…]  for each identify: its event's sequence, its time and the latest it may have (Unix seconds), how many lanes
--          the event has, and the digest of each
--
-- Returns  {merged, deleted, times}: by person, '' or the JSON of who the person was merged into, '' or the time of the
--          deletion in ms (nothing at all where nobody was); by identify, the time to send, Unix seconds
-- Clock    Redis' own.
local base = KEYS[1]
local DIGEST, TIMES_KEPT_S, OLDEST_S, MOST_AHEAD_S, MOST_MERGES = 8, 7200, 3600, 3600, 20
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
    digest, into = string.sub(found, 1, DIGEST), string.sub(found, DIGEST + 1)
    if met[digest] then
      return into
    end
  end
  return into
end

local merged, deleted, times = {}, {}, {}
local people = tonumber(ARGV[2])
for i = 1, some_merged and people or 0 do
  merged[i] = merged_into(ARGV[i + 2])
end
for i = 1, some_deleted and people or 0 do
  deleted[i] = find(deleted_names, ARGV[i + 2]) or ''
end

-- An event keeps its time, as it may be sent again: the last one of a lane in the lane's field, those that it overtook
-- within this call, which may all be sent again together, in fields of their own.
local time_names, given, at = generations(':identified:', TIMES_KEPT_S), {}, 3 + people
local function keep(values)
  redis.call('HSET', time_names[1], unpack(values))
  redis.call('EXPIRE', time_names[1], 2 * TIMES_KEPT_S)
end
while at <= #ARGV do
  local sequence, latest, lanes = ARGV[at], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local digests = { unpack(ARGV, at + 4, at + 3 + lanes) }
  local time = math.max(math.min(tonumber(ARGV[at + 1]), latest), now_s - OLDEST_S)
  local same_event, values = nil, {}
  for _, name in ipairs(lanes > 0 and time_names or {}) do
    local found = redis.call('HMGET', name, TIME_OF .. sequence, unpack(digests))
    same_event = same_event or tonumber(found[1] or nil)
    for i = 2, lanes + 1 do
      local last, of = string.match(found[i] or '', '(%d+) (%d+)')
      if of == sequence then
        same_event = tonumber(last)
      elseif last then
        time = math.max(time, last, math.min(last + 1, now_s + MOST_AHEAD_S))
        if given[of] then
          values[#values + 1], values[#values + 2] = TIME_OF .. of, given[of]
        end
      end
    end
  end
  time = same_event or time
  given[sequence] = string.format('%d', time)
  if lanes > 0 and not same_event then
    for _, digest in ipairs(digests) do
      values[#values + 1], values[#values + 2] = digest, given[sequence] .. ' ' .. sequence
    end
    keep(values)
  end
  times[#times + 1] = math.floor(time)
  at = at + 4 + lanes
end
return { merged, deleted, times }
