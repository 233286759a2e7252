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
-- ARGV[7]  bucket and fingerprint of each event's message id, in one text
-- ARGV[8…] what each event's record has behind the time: a byte: how many distinct keys, their digests, the body
-- ARGV[…]  four per event that has any of these: its place among the events (from 1), hold (ms), join ('' or the digests
--          of two keys: what comes later with the first has the second as well), and '' or the sequence of the dead letter
--          whose place it takes: then that one is no more, and the message id is not asked
--
-- Returns  false when the queue is full (nothing was written), else {flags, wake, last}: flags a text with '1' for each
--          event accepted and '0' for each duplicate; wake: how many deliverers to ask for; last: the
--          sequence of the last event accepted, 0 without any.
-- Clock    Redis' own.
local base, call = KEYS[1], redis.call
local sub, byte, char, find, format = string.sub, string.byte, string.char, string.find, string.format
local EVENT, LANE, PLACE, READY = base .. ':event', base .. ':lane', base .. ':links', base .. ':ready'
local DIGEST, BUCKET, PRINT, HOT_LENGTH = 8, 3, 6, 1000
local GENERATIONS, SHARDS, HINT_MS, MOST_WAKES, ARGUMENTS, MOST_JOINS = 3, 16, 200, 4, 4000, 20

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local offered = tonumber(ARGV[6])
local IDS, EVENTS, REST = ARGV[7], 7, 7 + offered
if call('HLEN', EVENT) + offered > tonumber(ARGV[1]) then
  return false
end

local function look_up(key, names)
  if #names == 0 then
    return {}
  end
  local found = call('HMGET', key, unpack(names, 1, math.min(ARGUMENTS, #names)))
  for first = ARGUMENTS + 1, #names, ARGUMENTS do
    for i, value in ipairs(call('HMGET', key, unpack(names, first, math.min(first + ARGUMENTS - 1, #names)))) do
      found[first + i - 1] = value
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

local holds_of, join_of, letter_of = {}, {}, {}
for at = REST + 1, #ARGV, 4 do
  local place, join, letter = tonumber(ARGV[at]), ARGV[at + 2], ARGV[at + 3]
  holds_of[place] = tonumber(ARGV[at + 1])
  join_of[place] = join ~= '' and join or nil
  letter_of[place] = letter ~= '' and letter or nil
end

-- A message id is remembered in the generation of its arrival, and found there for three more.
local generation = math.floor(now / ARGV[2])
local function seen(back)
  return base .. ':seen:' .. generation - back
end
local buckets = {}
for place = 1, offered do
  local start = (place - 1) * (BUCKET + PRINT)
  buckets[place] = sub(IDS, start + 1, start + BUCKET)
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
local added, remembered, remembered_count = {}, {}, 0
local function is_duplicate(place)
  local id_end = place * (BUCKET + PRINT)
  local bucket, print = buckets[place], sub(IDS, id_end - PRINT + 1, id_end)
  for back = 1, #older do
    local prints = older[back][place]
    if prints and holds_print(prints, print) then
      return true
    end
  end
  local prints = added[bucket] or current[place]
  if prints and holds_print(prints, print) then
    return true
  end
  prints = prints and prints .. print or print
  added[bucket] = prints
  remembered[remembered_count + 1], remembered[remembered_count + 2] = bucket, prints
  remembered_count = remembered_count + 2
  return false
end

local flags, fresh, count = {}, {}, 0
for place = 1, offered do
  local letter, duplicate = letter_of[place], nil
  if letter then
    duplicate = call('HDEL', base .. ':dead', letter) == 0
    call('HDEL', base .. ':failure', letter)
    call('ZREM', base .. ':dead_index', letter)
  else
    duplicate = is_duplicate(place)
  end
  flags[place] = duplicate and '0' or '1'
  if not duplicate then
    count = count + 1
    fresh[count] = place
  end
end
if count < offered then
  call('HINCRBY', base .. ':total', 'duplicates', offered - count)
end
if count == 0 then
  return { table.concat(flags), 0, 0 }
end

bulk('HSET', seen(0), remembered)
if is_new_generation then
  call('PEXPIRE', seen(0), (GENERATIONS + 2) * ARGV[2])
  call('UNLINK', seen(GENERATIONS + 1))
end

local function digests_of(event)
  local digests = {}
  for at = 2, byte(event) * DIGEST, DIGEST do
    digests[#digests + 1] = sub(event, at, at + DIGEST - 1)
  end
  return digests
end

-- What is remembered for a length of time stands in the generation of that length, and is looked for in two.
local function recent(suffix, length)
  local generation = math.floor(now / math.max(tonumber(length), 1))
  return { base .. suffix .. generation, base .. suffix .. generation - 1 }
end

-- A key that was joined to another brings that one along, and so on; the joins of this call count from their event on.
local joins, joined = {}, recent(':join:', ARGV[5])
local function read_joins()
  local asked, is_asked = {}, {}
  local function ask(digest)
    if not is_asked[digest] then
      is_asked[digest] = true
      asked[#asked + 1] = digest
    end
  end
  for _, place in ipairs(fresh) do
    for _, digest in ipairs(digests_of(ARGV[EVENTS + place])) do
      ask(digest)
    end
    if join_of[place] then
      ask(sub(join_of[place], DIGEST + 1))
    end
  end
  while #asked > 0 do
    local now_asked = asked
    asked = {}
    for _, name in ipairs(joined) do
      for i, other in ipairs(look_up(name, now_asked)) do
        if other and not joins[now_asked[i]] then
          joins[now_asked[i]] = other
          ask(other)
        end
      end
    end
  end
end

local function with_joins(event)
  local digests, all, met = digests_of(event), {}, {}
  for _, digest in ipairs(digests) do
    while digest and not met[digest] and #all < MOST_JOINS + #digests do
      met[digest] = true
      all[#all + 1] = digest
      digest = joins[digest]
    end
  end
  return char(#all) .. table.concat(all) .. sub(event, 2 + #digests * DIGEST)
end

local event_of = {} -- with what was joined to its keys
if next(join_of) or call('EXISTS', unpack(joined)) > 0 then
  read_joins()
  for _, place in ipairs(fresh) do
    event_of[place] = with_joins(ARGV[EVENTS + place])
    local join = join_of[place]
    if join then
      local from, to = sub(join, 1, DIGEST), sub(join, DIGEST + 1)
      joins[from] = to
      call('HSET', joined[1], from, to)
      call('PEXPIRE', joined[1], 2 * ARGV[5])
    end
  end
end

-- Nobody starts sooner after a neighbour than the hold of either says, also when that one has left.
local apart = recent(':cooling_until:', ARGV[4])
local some_are_apart = call('EXISTS', unpack(apart)) > 0
local function apart_until(digests)
  local time = 0
  for _, name in ipairs(apart) do
    for _, found in ipairs(call('HMGET', name, unpack(digests))) do
      time = math.max(time, tonumber(found or 0))
    end
  end
  return time
end
local rested = {}
local function rested_at(digest)
  local shard, time = ':' .. byte(digest) % SHARDS, 0
  for _, generation in ipairs(recent(':finished_at:', ARGV[4])) do
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
local function due_of(event, hold)
  local due, digests = now, digests_of(event)
  if #digests > 0 and some_are_apart then
    due = math.max(due, apart_until(digests))
  end
  for _, digest in ipairs(hold > 0 and digests or {}) do
    due = math.max(due, rested_at(digest) + hold)
  end
  return due
end

-- The digests of all lanes, each once; and for each key of each event, one after the other, which lane it is.
local digests, lane_of, lane_count, lane_by, key_count = {}, {}, 0, {}, 0
for i = 1, count do
  local event = event_of[fresh[i]] or ARGV[EVENTS + fresh[i]]
  for at = 2, byte(event) * DIGEST, DIGEST do
    local digest = sub(event, at, at + DIGEST - 1)
    local lane = lane_by[digest]
    if not lane then
      lane_count = lane_count + 1
      lane = lane_count
      digests[lane], lane_by[digest] = digest, lane
    end
    key_count = key_count + 1
    lane_of[key_count] = lane
  end
end
local lanes = look_up(LANE, digests)

-- A look at a table is cheaper than a call of char.
local as_byte = setmetatable({}, {
  __index = function(made, number)
    made[number] = char(number)
    return made[number]
  end,
})
local seq = call('INCRBY', base .. ':seq', count) - count
local now_text, key = format('%d', now), 0
local events, ready, ready_count, holds, links = {}, {}, 0, {}, {}
local waiting, behinds, waiting_count = {}, {}, 0
local heads, lengths = {}, {} -- of the lanes that have several events: the first one, as it stands in a value; how many
for i = 1, count do
  local place = fresh[i]
  local name, event = format('%d', seq + i), event_of[place] or ARGV[EVENTS + place]
  local behind, hold = 0, holds_of[place] or 0
  for own_key = 0, byte(event) - 1 do
    key = key + 1
    local lane = lane_of[key]
    local last = lanes[lane]
    if last then
      local last_key, digits = byte(last, 1, 2)
      local last_end = 2 + digits
      if lengths[lane] then
        lengths[lane] = lengths[lane] + 1
      elseif #last > last_end then -- as it was read
        local head_end = last_end + 1 + byte(last, last_end + 1)
        heads[lane], lengths[lane] = sub(last, last_end + 1, head_end), sub(last, head_end + 1) + 1
      else
        heads[lane], lengths[lane] = sub(last, 2), 2
      end
      local before = sub(last, 3, last_end)
      links[before] = (links[before] or '') .. as_byte[last_key] .. as_byte[#name] .. name
      behind = behind + 1
    end
    lanes[lane] = as_byte[own_key] .. as_byte[#name] .. name
  end
  events[2 * i - 1], events[2 * i] = name, now_text .. event
  if behind > 0 then
    waiting_count = waiting_count + 1
    waiting[waiting_count], behinds[waiting_count] = name, behind
  else
    ready[ready_count + 1] = (hold > 0 or some_are_apart) and due_of(event, hold) or now_text
    ready[ready_count + 2] = name
    ready_count = ready_count + 2
  end
  if hold > 0 then
    holds[#holds + 1] = name
    holds[#holds + 1] = hold
  end
end

local lane_values, hot_values = {}, {}
for lane = 1, lane_count do
  local value, length = lanes[lane], lengths[lane]
  if length then
    value = value .. heads[lane] .. format('%d', length)
    if length >= HOT_LENGTH then
      hot_values[#hot_values + 1] = length
      hot_values[#hot_values + 1] = digests[lane]
    end
  end
  lane_values[2 * lane - 1], lane_values[2 * lane] = digests[lane], value
end

local places = {}
for i = 1, waiting_count do
  local name = waiting[i]
  places[2 * i - 1], places[2 * i] = name, as_byte[behinds[i]] .. (links[name] or '')
  links[name] = nil
end
local tails = {} -- the others that have somebody behind them now
for name in pairs(links) do
  tails[#tails + 1] = name
end
for i, place in ipairs(look_up(PLACE, tails)) do
  local name = tails[i]
  places[#places + 1] = name
  places[#places + 1] = (place or char(0)) .. links[name]
end

bulk('HSET', EVENT, events)
write(LANE, lane_values)
write(PLACE, places)
bulk('HSET', base .. ':cooldown', holds)
bulk('ZADD', READY, ready)
bulk('ZADD', base .. ':hot', hot_values)
if call('HINCRBY', base .. ':age', time[1], count) == count then
  call('ZADD', base .. ':ages', time[1], time[1])
end
call('HINCRBY', base .. ':total', 'accepted', count)

local due = call('ZCOUNT', READY, '-inf', now_text)
local wanted = math.min(math.ceil(due / ARGV[3]) - call('ZCARD', base .. ':claims'), MOST_WAKES)
local wake = wanted > 0 and call('SET', base .. ':wakeup', '1', 'PX', HINT_MS, 'NX')
return { table.concat(flags), wake and wanted or 0, seq + count }
