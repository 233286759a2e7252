-- Take events out of their lanes, wherever they stand, a bounded part of them a call. The lanes close behind each: its
-- predecessor is followed by its successor. What a claim owns is being worked on, so its place is kept, empty, until the
-- claim settles it or ends: nothing overtakes what may be under way. An empty event has no body, and is delivered without
-- being sent. A lane is only linked forwards: the way to a predecessor deep in somebody else's lane is walked in
-- several calls, each of which goes on where the one before came to.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  most events to take out or to empty in this call
-- ARGV[2]  most steps along lanes in this call
-- ARGV[3]  longest hold, ms
-- ARGV[4]  only events before this sequence go; '' for all
-- ARGV[5]  how many digests of keys whose events go, then these
-- ARGV[…]  two per lane in which the call before was on its way: its digest, and the sequence to which it came there
--
-- Returns  {more, on their way, claimed, sequence, how, record, …}: more 1 when this call came to its bound; on their way:
--          two per lane, for the next call; claimed: empty events that claims own; three per event: 'removed', 'dead_letter'
--          (taken, a dead letter that held) or 'emptied'
-- Clock    Redis' own.
local base, call = KEYS[1], redis.call
local sub, byte, char = string.sub, string.byte, string.char
local EVENT, LANE, PLACE, READY = base .. ':event', base .. ':lane', base .. ':links', base .. ':ready'
local HELD = base .. ':claim:blocking'
local DIGEST, KEY_COUNT, SHARDS, HOT_LENGTH = 8, 14, 16, 1000
local events_left, steps_left, longest_hold = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local before_sequence = tonumber(ARGV[4]) or math.huge

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function digests_of(record)
  local digests, keys_end = {}, KEY_COUNT + byte(record, KEY_COUNT) * DIGEST
  for at = KEY_COUNT + 1, keys_end, DIGEST do
    digests[#digests + 1] = sub(record, at, at + DIGEST - 1)
  end
  return digests, keys_end
end

-- Which of its keys, from 0, an event has this digest by.
local function key_number(name, digest)
  for i, own in ipairs(digests_of(call('HGET', EVENT, name))) do
    if own == digest then
      return i - 1
    end
  end
end

local function sequence_at(value, at)
  local sequence_end = at + byte(value, at)
  return sub(value, at + 1, sequence_end), sequence_end + 1
end

local function written(sequence)
  return char(#sequence) .. sequence
end

-- The place of an event: how many lanes it waits in, and its successor by the number of its key.
local function place_of(name)
  local place, heirs = call('HGET', PLACE, name), {}
  local at, waits = 2, place and byte(place) or 0
  while place and at < #place do
    local key = byte(place, at)
    heirs[key], at = sequence_at(place, at + 1)
  end
  return waits, heirs
end

local function write_place(name, waits, heirs)
  local parts = { char(waits) }
  for key, heir in pairs(heirs) do
    parts[#parts + 1] = char(key) .. written(heir)
  end
  if waits == 0 and #parts == 1 then
    call('HDEL', PLACE, name)
  else
    call('HSET', PLACE, name, table.concat(parts))
  end
end

local function successor(name, digest)
  local _, heirs = place_of(name)
  return next(heirs) and heirs[key_number(name, digest)]
end

-- The head, the tail and the length of a lane, and by which of its keys the tail stands in it.
local function lane_of(digest)
  local lane = call('HGET', LANE, digest)
  local tail, at = sequence_at(lane, 2)
  if at > #lane then
    return tail, tail, 1, byte(lane)
  end
  local head, length_at = sequence_at(lane, at)
  return head, tail, tonumber(sub(lane, length_at)), byte(lane)
end

local function write_lane(digest, head, tail, length, key)
  local rest = length > 1 and written(head) .. length or ''
  call('HSET', LANE, digest, char(key) .. written(tail) .. rest)
end

local claims = call('ZRANGE', base .. ':claims', 0, -1)
local function is_claimed(name)
  for _, claim in ipairs(claims) do
    if call('SISMEMBER', base .. ':claim:' .. claim, name) == 1 then
      return true
    end
  end
  return false
end

local last_digest = 5 + ARGV[5]
local reached = {} -- by digest of a lane: the last event that was passed there
for at = last_digest + 1, #ARGV, 2 do
  reached[ARGV[at]] = ARGV[at + 1]
end

local function start_of_way(digest, name)
  local head, known = lane_of(digest), reached[digest]
  if known and tonumber(known) < tonumber(name) and call('HEXISTS', EVENT, known) == 1 then
    return known
  end
  return head
end

-- The predecessor of an event in each of its lanes, false where it is the head; nothing when that takes too many steps.
-- A letter that holds is the head of all of its lanes.
local function predecessors(name, digests)
  local found = {}
  for _, digest in ipairs(digests) do
    local at, before = start_of_way(digest, name), false
    while at ~= name do
      steps_left = steps_left - 1
      reached[digest] = at
      if steps_left <= 0 then
        return
      end
      at, before = successor(at, digest), at
    end
    found[digest] = before
  end
  return found
end

local generation = math.floor(now / math.max(longest_hold, 1))
local function apart_until(digests)
  local time = 0
  for back = 0, 1 do
    for _, found in ipairs(call('HMGET', base .. ':cooling_until:' .. generation - back, unpack(digests))) do
      time = math.max(time, tonumber(found or 0))
    end
  end
  return time
end

local function rested_at(digest)
  local time = 0
  for back = 0, 1 do
    local rested = call('GET', base .. ':finished_at:' .. generation - back .. ':' .. byte(digest) % SHARDS) or ''
    for at = 1, #rested, DIGEST + 13 do
      if sub(rested, at, at + DIGEST - 1) == digest then
        time = math.max(time, tonumber(sub(rested, at + DIGEST, at + DIGEST + 12)))
      end
    end
  end
  return time
end

-- What becomes a head keeps its distance from what has left, as if it came now.
local function free(name)
  local waits, heirs = place_of(name)
  write_place(name, waits - 1, heirs)
  if waits > 1 then
    return
  end
  local digests = digests_of(call('HGET', EVENT, name))
  local due, hold = math.max(now, apart_until(digests)), call('HGET', base .. ':cooldown', name)
  for _, digest in ipairs(hold and digests or {}) do
    due = math.max(due, rested_at(digest) + hold)
  end
  call('ZADD', READY, due, name)
end

local function close(digest, before, heir)
  local head, tail, length, key = lane_of(digest)
  if length == HOT_LENGTH then
    call('ZREM', base .. ':hot', digest)
  end
  if not before and not heir then
    call('HDEL', LANE, digest)
    return
  end
  if before then
    local waits, heirs = place_of(before)
    local own_key = key_number(before, digest)
    heirs[own_key] = heir
    write_place(before, waits, heirs)
    if not heir then
      tail, key = before, own_key
    end
  else
    head = heir
    free(heir)
  end
  write_lane(digest, head, tail, length - 1, key)
end

local function take_out(name, record, digests, before)
  local _, heirs = place_of(name)
  for i, digest in ipairs(digests) do
    close(digest, before[digest], heirs[i - 1])
  end
  call('ZREM', READY, name)
  for _, suffix in ipairs({ ':event', ':links', ':cooldown', ':attempts', ':expired_claims' }) do
    call('HDEL', base .. suffix, name)
  end
  local second = sub(record, 1, 10)
  if call('HINCRBY', base .. ':age', second, -1) == 0 then
    call('HDEL', base .. ':age', second)
    call('ZREM', base .. ':ages', second)
  end
end

local reply = { 0, {}, 0 }
local function report(name, how, record)
  events_left = events_left - 1
  reply[#reply + 1] = name
  reply[#reply + 1] = how
  reply[#reply + 1] = record
end

local function empty(name, record, keys_end)
  reply[3] = reply[3] + 1
  if #record > keys_end then
    call('HSET', EVENT, name, sub(record, 1, keys_end))
    call('HDEL', base .. ':attempts', name)
    report(name, 'emptied', record)
  end
end

-- Whether it came to an end within the steps that are left.
local function forget(name)
  local record = call('HGET', EVENT, name)
  local digests, keys_end = digests_of(record)
  if is_claimed(name) then
    empty(name, record, keys_end)
    return true
  end
  local before = predecessors(name, digests)
  if not before then
    return false
  end
  local held = call('SREM', HELD, name) == 1
  if held then
    call('HDEL', base .. ':dead', name)
    call('HDEL', base .. ':failure', name)
    call('ZREM', base .. ':dead_index', name)
  end
  take_out(name, record, digests, before)
  if not held then
    call('HINCRBY', base .. ':total', 'erased', 1)
  end
  report(name, held and 'dead_letter' or 'removed', record)
  return true
end

for i = 6, last_digest do
  local name = call('HEXISTS', LANE, ARGV[i]) == 1 and lane_of(ARGV[i])
  while name and tonumber(name) < before_sequence do
    steps_left = steps_left - 1
    local heir = successor(name, ARGV[i])
    if events_left <= 0 or steps_left <= 0 or not forget(name) then
      reply[1] = 1
      for digest, name in pairs(reached) do
        table.insert(reply[2], digest)
        table.insert(reply[2], name)
      end
      return reply
    end
    name = heir
  end
end
return reply
