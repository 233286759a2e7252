-- Append events in order, all of them or none. Duplicates are dropped, each event joins the lane of each of its keys, and
-- the lanes that these were joined to.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  limit: the most unfinished events the queue may hold
-- ARGV[2]  length of one de-duplication generation, ms
-- ARGV[3]  ready events that one open claim is expected to take care of
-- ARGV[4]  longest hold, ms
-- ARGV[5]  how long a join lasts, ms
-- ARGV[6]  how many events
-- ARGV[7…] three per event: bucket and fingerprint of the message id, digests of its distinct keys, body
-- ARGV[…]  four per event that has any of these: its place among the events (from 1), hold (ms), join ('' or the digests
--          of two keys: what comes later with the first has the second as well), and '' or the sequence of the dead letter
--          whose place it takes: then that one is no more, and the message id is not asked
--
-- Returns  false when the queue is full (nothing was written), else {flags, wake, last}: flags a text with '1' for each
--          event accepted and '0' for each duplicate; wake: how many deliverers to ask for; last: the
--          sequence of the last event accepted, 0 without any.
-- Clock    Redis' own.
local base, call = KEYS[1], redis.call
local sub, byte, char, find = string.sub, string.byte, string.char, string.find
local EVENT, LANE, PLACE, READY = base .. ':event', base .. ':lane', base .. ':place', base .. ':ready'
local FIRST, DIGEST, BUCKET, PRINT, HOT_LENGTH = 7, 8, 3, 6, 1000
local GENERATIONS, SHARDS, HINT_MS, MOST_WAKES, ARGUMENTS, MOST_JOINS = 3, 16, 200, 4, 4000, 20

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local offered = tonumber(ARGV[6])
if call('HLEN', EVENT) + offered > tonumber(ARGV[1]) then
  return false
end

local function look_up(key, names)
  local found = {}
  for first = 1, #names, ARGUMENTS do
    local values = call('HMGET', key, unpack(names, first, math.min(first + ARGUMENTS - 1, #names)))
    for i = 1, #values do
      found[names[first + i - 1]] = values[i]
    end
  end
  return found
end

local function bulk(command, key, values)
  for first = 1, #values, ARGUMENTS do
    call(command, key, unpack(values, first, math.min(first + ARGUMENTS - 1, #values)))
  end
end

-- Redis keeps a small hash as a list that is searched from its start, which is slow for hundreds of fields a call; one
-- long value makes a table of it.
local function write(key, values)
  if #values > 0 and call('EXISTS', key) == 0 then
    call('HSET', key, 'table', string.rep('-', 65))
    bulk('HSET', key, values)
    call('HDEL', key, 'table')
  else
    bulk('HSET', key, values)
  end
end

local last = FIRST + 3 * (offered - 1)
local holds_of, join_of, letter_of = {}, {}, {}
for at = last + 3, #ARGV, 4 do
  local event = FIRST + 3 * (ARGV[at] - 1)
  local join, letter = ARGV[at + 2], ARGV[at + 3]
  holds_of[event] = tonumber(ARGV[at + 1])
  join_of[event] = join ~= '' and join or nil
  letter_of[event] = letter ~= '' and letter or nil
end

-- A message id is remembered in the generation of its arrival, and found there for three more.
local generation = math.floor(now / ARGV[2])
local function seen(back)
  return base .. ':seen:' .. generation - back
end
local buckets = {}
for at = FIRST, last, 3 do
  buckets[#buckets + 1] = sub(ARGV[at], 1, BUCKET)
end
local is_new_generation = call('EXISTS', seen(0)) == 0
local current, older = is_new_generation and {} or look_up(seen(0), buckets), {}
for back = 1, GENERATIONS do
  if call('EXISTS', seen(back)) == 1 then
    older[#older + 1] = look_up(seen(back), buckets)
  end
end
local function holds_print(prints, print)
  local at = find(prints, print, 1, true)
  while at and at % PRINT ~= 1 do
    at = find(prints, print, at + 1, true)
  end
  return at
end
local added = {}
local function is_duplicate(id)
  local bucket, print = sub(id, 1, BUCKET), sub(id, BUCKET + 1)
  for _, prints in ipairs(older) do
    if prints[bucket] and holds_print(prints[bucket], print) then
      return true
    end
  end
  local prints = current[bucket]
  if prints and holds_print(prints, print) then
    return true
  end
  current[bucket] = prints and prints .. print or print
  added[bucket] = true
  return false
end

local flags, fresh = {}, {}
for at = FIRST, last, 3 do
  local letter, duplicate = letter_of[at], nil
  if letter then
    duplicate = call('HDEL', base .. ':dead', letter) == 0
    call('HDEL', base .. ':letter', letter)
    call('ZREM', base .. ':grave', letter)
  else
    duplicate = is_duplicate(ARGV[at])
  end
  flags[#flags + 1] = duplicate and '0' or '1'
  if not duplicate then
    fresh[#fresh + 1] = at
  end
end
if #fresh < offered then
  call('HINCRBY', base .. ':total', 'duplicates', offered - #fresh)
end
if #fresh == 0 then
  return { table.concat(flags), 0, 0 }
end

local remembered = {}
for bucket in pairs(added) do
  remembered[#remembered + 1] = bucket
  remembered[#remembered + 1] = current[bucket]
end
bulk('HSET', seen(0), remembered)
if is_new_generation then
  call('PEXPIRE', seen(0), (GENERATIONS + 2) * ARGV[2])
  call('UNLINK', seen(GENERATIONS + 1))
end

local digests, is_met = {}, {}
local function note(keys)
  for i = 1, #keys, DIGEST do
    local digest = sub(keys, i, i + DIGEST - 1)
    if not is_met[digest] then
      is_met[digest] = true
      digests[#digests + 1] = digest
    end
  end
end
for _, at in ipairs(fresh) do
  note(ARGV[at + 1])
  note(join_of[at] or '')
end

-- What is remembered for a length of time stands in the generation of that length, and is looked for in two.
local function recent(suffix, length)
  local generation = math.floor(now / math.max(tonumber(length), 1))
  return { base .. suffix .. generation, base .. suffix .. generation - 1 }
end

-- A key that was joined to another brings that one along, and so on; the joins of this call count from their event on.
local joins, joined, unread = {}, recent(':join:', ARGV[5]), 1
local function read_joins()
  while unread <= #digests do
    local asked = { unpack(digests, unread, math.min(unread + ARGUMENTS - 1, #digests)) }
    unread = unread + #asked
    for _, name in ipairs(joined) do
      for digest, other in pairs(look_up(name, asked)) do
        if other and not joins[digest] then
          joins[digest] = other
          note(other)
        end
      end
    end
  end
end

local function with_joins(keys)
  local all, met = {}, {}
  for i = 1, #keys, DIGEST do
    local digest = sub(keys, i, i + DIGEST - 1)
    while digest and not met[digest] and #all < MOST_JOINS + #keys / DIGEST do
      met[digest] = true
      all[#all + 1] = digest
      digest = joins[digest]
    end
  end
  return table.concat(all)
end

local keys_of = {}
if next(join_of) or call('EXISTS', unpack(joined)) > 0 then
  read_joins()
  for _, at in ipairs(fresh) do
    keys_of[at] = with_joins(ARGV[at + 1])
    local join = join_of[at]
    if join then
      local from, to = sub(join, 1, DIGEST), sub(join, DIGEST + 1)
      joins[from] = to
      call('HSET', joined[1], from, to)
      call('PEXPIRE', joined[1], 2 * ARGV[5])
    end
  end
end

-- Nobody starts sooner after a neighbour than the hold of either says, also when that one has left.
local apart = recent(':apart:', ARGV[4])
local some_are_apart = call('EXISTS', unpack(apart)) > 0
local function apart_until(of_event)
  local time = 0
  for _, name in ipairs(apart) do
    for _, found in ipairs(call('HMGET', name, unpack(of_event))) do
      time = math.max(time, tonumber(found or 0))
    end
  end
  return time
end
local rested = {}
local function rested_at(digest)
  local shard, time = ':' .. byte(digest) % SHARDS, 0
  for _, generation in ipairs(recent(':rested:', ARGV[4])) do
    local name = generation .. shard
    rested[name] = rested[name] or call('GET', name) or ''
    local at = find(rested[name], digest, 1, true)
    while at do
      if at % (DIGEST + 13) == 1 then
        time = math.max(time, tonumber(sub(rested[name], at + DIGEST, at + DIGEST + 12)))
      end
      at = find(rested[name], digest, at + 1, true)
    end
  end
  return time
end
local function due_of(keys, hold)
  local of_event, due = {}, now
  for i = 1, #keys, DIGEST do
    of_event[#of_event + 1] = sub(keys, i, i + DIGEST - 1)
  end
  if #of_event > 0 and some_are_apart then
    due = math.max(due, apart_until(of_event))
  end
  for _, digest in ipairs(hold > 0 and of_event or {}) do
    due = math.max(due, rested_at(digest) + hold)
  end
  return due
end

local lanes = look_up(LANE, digests)
local seq = call('INCRBY', base .. ':seq', #fresh) - #fresh
local now_text = now .. ''
local events, ready, holds, waits, links, hot = {}, {}, {}, {}, {}, {}
for _, at in ipairs(fresh) do
  seq = seq + 1
  local name, keys, behind, hold = seq .. '', keys_of[at] or ARGV[at + 1], 0, holds_of[at] or 0
  local this = char(#name) .. name
  for i = 1, #keys, DIGEST do
    local digest, own_key = sub(keys, i, i + DIGEST - 1), char((i - 1) / DIGEST)
    local lane = lanes[digest]
    if lane then
      local tail_end = 2 + byte(lane, 2)
      local tail, head, length = sub(lane, 3, tail_end), sub(lane, 2, tail_end), 2
      if #lane > tail_end then
        local head_end = tail_end + 1 + byte(lane, tail_end + 1)
        head, length = sub(lane, tail_end + 1, head_end), sub(lane, head_end + 1) + 1
      end
      links[tail] = (links[tail] or '') .. sub(lane, 1, 1) .. this
      lanes[digest] = own_key .. this .. head .. length
      behind = behind + 1
      if length >= HOT_LENGTH then
        hot[digest] = length
      end
    else
      lanes[digest] = own_key .. this
    end
  end
  waits[name] = behind
  events[#events + 1] = name
  events[#events + 1] = now_text .. char(#keys / DIGEST) .. keys .. ARGV[at + 2]
  if behind == 0 then
    ready[#ready + 1] = (hold > 0 or some_are_apart) and due_of(keys, hold) or now_text
    ready[#ready + 1] = name
  end
  if hold > 0 then
    holds[#holds + 1] = name
    holds[#holds + 1] = hold
  end
end

local hot_values = {}
for digest, length in pairs(hot) do
  hot_values[#hot_values + 1] = length
  hot_values[#hot_values + 1] = digest
end
local lane_values = {}
for digest, lane in pairs(lanes) do
  if lane then
    lane_values[#lane_values + 1] = digest
    lane_values[#lane_values + 1] = lane
  end
end

local tails = {}
for name in pairs(links) do
  if not waits[name] then
    tails[#tails + 1] = name
  end
end
local before, places = look_up(PLACE, tails), {}
for name, behind_it in pairs(links) do
  places[#places + 1] = name
  places[#places + 1] = (before[name] or char(waits[name] or 0)) .. behind_it
end
for name, behind in pairs(waits) do
  if behind > 0 and not links[name] then
    places[#places + 1] = name
    places[#places + 1] = char(behind)
  end
end

bulk('HSET', EVENT, events)
write(LANE, lane_values)
write(PLACE, places)
bulk('HSET', base .. ':hold', holds)
bulk('ZADD', READY, ready)
bulk('ZADD', base .. ':hot', hot_values)
call('HINCRBY', base .. ':age', time[1], #fresh)
call('ZADD', base .. ':ages', time[1], time[1])
call('HINCRBY', base .. ':total', 'accepted', #fresh)

local due = call('ZCOUNT', READY, '-inf', now_text)
local wanted = math.min(math.ceil(due / ARGV[3]) - call('ZCARD', base .. ':claims'), MOST_WAKES)
local wake = wanted > 0 and call('SET', base .. ':hint', '1', 'PX', HINT_MS, 'NX')
return { table.concat(flags), wake and wanted or 0, seq }
