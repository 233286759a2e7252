-- Append events in order, all of them or none. Duplicates are dropped, each event joins the lane of each of its keys, and
-- the lanes that these were joined to.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  limit: the most unfinished events the queue may hold
-- ARGV[2]  length of one de-duplication generation, ms
-- ARGV[3]  ready events that one open claim is expected to take care of
-- ARGV[4]  longest hold, ms
-- ARGV[5]  how long a join lasts, ms
-- ARGV[6…] seven per event: bucket and fingerprint of the message id, hold (ms), join ('' or the digests of two keys: what
--          comes later with the first has the second as well), digests of its distinct keys, body, and '' or the sequence
--          of the dead letter whose place it takes: then that one is no more, and the message id is not asked
--
-- Returns  false when the queue is full (nothing was written), else {flags, wake}: flags a text with '1' for each
--          event accepted and '0' for each duplicate; wake 1 when the caller should ask for a deliverer.
-- Clock    Redis' own.
local base = KEYS[1]
local EVENT, LANE, NEXT, READY = base .. ':event', base .. ':lane', base .. ':next', base .. ':ready'
local FIRST, STRIDE, DIGEST, HOT_LENGTH = 6, 7, 8, 1000
local GENERATIONS, HINT_MS, ARGUMENTS, MOST_JOINS = 3, 200, 4000, 20

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local offered = (#ARGV - FIRST + 1) / STRIDE
if redis.call('HLEN', EVENT) + offered > tonumber(ARGV[1]) then
  return false
end

local function number(n)
  return string.format('%d', n)
end

local function bulk(command, key, values)
  for first = 1, #values, ARGUMENTS do
    redis.call(command, key, unpack(values, first, math.min(first + ARGUMENTS - 1, #values)))
  end
end

-- A message id is remembered in the generation of its arrival, and found there for three more.
local generation = math.floor(now / ARGV[2])
local function is_duplicate(bucket, fingerprint)
  for back = 1, GENERATIONS do
    if redis.call('SISMEMBER', base .. ':seen:' .. number(generation - back) .. ':' .. bucket, fingerprint) == 1 then
      return true
    end
  end
  local seen = base .. ':seen:' .. number(generation) .. ':' .. bucket
  if redis.call('SADD', seen, fingerprint) == 0 then
    return true
  end
  if redis.call('SCARD', seen) == 1 then
    redis.call('PEXPIRE', seen, number((GENERATIONS + 1) * ARGV[2]))
  end
  return false
end

local flags, fresh = {}, {}
for at = FIRST, #ARGV, STRIDE do
  local letter, duplicate = ARGV[at + 6], nil
  if letter == '' then
    duplicate = is_duplicate(ARGV[at], ARGV[at + 1])
  else
    duplicate = redis.call('HDEL', base .. ':dead', letter) == 0
    redis.call('HDEL', base .. ':letter', letter)
    redis.call('ZREM', base .. ':grave', letter)
  end
  flags[#flags + 1] = duplicate and '0' or '1'
  if not duplicate then
    fresh[#fresh + 1] = at
  end
end
redis.call('HINCRBY', base .. ':total', 'duplicates', number(offered - #fresh))
if #fresh == 0 then
  return { table.concat(flags), 0 }
end

local lanes, digests = {}, {}
local function note(keys)
  for i = 1, #keys, DIGEST do
    local digest = string.sub(keys, i, i + DIGEST - 1)
    if lanes[digest] == nil then
      lanes[digest] = false
      digests[#digests + 1] = digest
    end
  end
end
local brings_joins = false
for _, at in ipairs(fresh) do
  note(ARGV[at + 4])
  note(ARGV[at + 3])
  brings_joins = brings_joins or ARGV[at + 3] ~= ''
end

-- What is remembered for a length of time stands in the generation of that length, and is looked for in two.
local function recent(suffix, length)
  local generation = math.floor(now / math.max(tonumber(length), 1))
  return { base .. suffix .. number(generation), base .. suffix .. number(generation - 1) }
end

-- A key that was joined to another brings that one along, and so on; the joins of this call count from their event on.
local joins, joined, unread = {}, recent(':join:', ARGV[5]), 1
local function read_joins()
  while unread <= #digests do
    local first, last = unread, math.min(unread + ARGUMENTS - 1, #digests)
    unread = last + 1
    for _, name in ipairs(joined) do
      local found = redis.call('HMGET', name, unpack(digests, first, last))
      for i = first, last do
        local other = found[i - first + 1]
        if other and not joins[digests[i]] then
          joins[digests[i]] = other
          note(other)
        end
      end
    end
  end
end

local function with_joins(keys)
  local all, met = {}, {}
  for i = 1, #keys, DIGEST do
    local digest = string.sub(keys, i, i + DIGEST - 1)
    while digest and not met[digest] and #all < MOST_JOINS + #keys / DIGEST do
      met[digest] = true
      all[#all + 1] = digest
      digest = joins[digest]
    end
  end
  return table.concat(all)
end

local keys_of = {}
if brings_joins or redis.call('EXISTS', unpack(joined)) > 0 then
  read_joins()
  for _, at in ipairs(fresh) do
    keys_of[at] = with_joins(ARGV[at + 4])
    local join = ARGV[at + 3]
    if join ~= '' then
      local from, to = string.sub(join, 1, DIGEST), string.sub(join, DIGEST + 1)
      joins[from] = to
      redis.call('HSET', joined[1], from, to)
      redis.call('PEXPIRE', joined[1], number(2 * ARGV[5]))
    end
  end
end

for first = 1, #digests, ARGUMENTS do
  local last = math.min(first + ARGUMENTS - 1, #digests)
  local found = redis.call('HMGET', LANE, unpack(digests, first, last))
  for i = first, last do
    local lane = found[i - first + 1]
    if lane then
      local head, tail, length = string.match(lane, '(%d+) (%d+) (%d+)')
      lanes[digests[i]] = { head = head, tail = tail, length = tonumber(length) }
    end
  end
end

-- Nobody starts sooner after a neighbour than the hold of either says, also when that one has left.
local apart = recent(':apart:', ARGV[4])
local some_are_apart = redis.call('EXISTS', unpack(apart)) > 0
local function latest(names, digests_of_event)
  local time = 0
  for _, name in ipairs(names) do
    for _, found in ipairs(redis.call('HMGET', name, unpack(digests_of_event))) do
      time = math.max(time, tonumber(found or 0))
    end
  end
  return time
end
local function due_of(keys, hold)
  local of_event, due = {}, now
  for i = 1, #keys, DIGEST do
    of_event[#of_event + 1] = string.sub(keys, i, i + DIGEST - 1)
  end
  if #of_event > 0 and some_are_apart then
    due = math.max(due, latest(apart, of_event))
  end
  if #of_event > 0 and hold > 0 then
    due = math.max(due, latest(recent(':rested:', ARGV[4]), of_event) + hold)
  end
  return due
end

local seq = redis.call('INCRBY', base .. ':seq', number(#fresh)) - #fresh
local accepted_at = string.format('%013d', now)
local events, ready, waits, holds, links, linked = {}, {}, {}, {}, {}, {}
for _, at in ipairs(fresh) do
  seq = seq + 1
  local name, hex, keys, behind = number(seq), string.format('%012x', seq), keys_of[at] or ARGV[at + 4], 0
  local hold = tonumber(ARGV[at + 2])
  for i = 1, #keys, DIGEST do
    local digest = string.sub(keys, i, i + DIGEST - 1)
    local lane = lanes[digest]
    if lane then
      if not links[lane.tail] then
        links[lane.tail] = {}
        linked[#linked + 1] = lane.tail
      end
      table.insert(links[lane.tail], digest .. hex)
      lane.tail, lane.length, behind = name, lane.length + 1, behind + 1
    else
      lanes[digest] = { head = name, tail = name, length = 1 }
    end
  end
  events[#events + 1] = name
  events[#events + 1] = accepted_at .. string.format('%02x', #keys / DIGEST) .. keys .. ARGV[at + 5]
  if behind == 0 then
    ready[#ready + 1] = number((hold > 0 or some_are_apart) and due_of(keys, hold) or now)
    ready[#ready + 1] = name
  else
    waits[#waits + 1] = name
    waits[#waits + 1] = number(behind)
  end
  if hold > 0 then
    holds[#holds + 1] = name
    holds[#holds + 1] = number(hold)
  end
end

local lane_values = {}
for _, digest in ipairs(digests) do
  local lane = lanes[digest]
  if lane then
    lane_values[#lane_values + 1] = digest
    lane_values[#lane_values + 1] = lane.head .. ' ' .. lane.tail .. ' ' .. number(lane.length)
  end
  if lane and lane.length >= HOT_LENGTH then
    redis.call('ZADD', base .. ':hot', number(lane.length), digest)
  end
end

local link_values = {}
for first = 1, #linked, ARGUMENTS do
  local last = math.min(first + ARGUMENTS - 1, #linked)
  local before = redis.call('HMGET', NEXT, unpack(linked, first, last))
  for i = first, last do
    link_values[#link_values + 1] = linked[i]
    link_values[#link_values + 1] = (before[i - first + 1] or '') .. table.concat(links[linked[i]])
  end
end

bulk('HSET', EVENT, events)
bulk('HSET', LANE, lane_values)
bulk('HSET', NEXT, link_values)
bulk('HSET', base .. ':wait', waits)
bulk('HSET', base .. ':hold', holds)
bulk('ZADD', READY, ready)
redis.call('HINCRBY', base .. ':age', time[1], number(#fresh))
redis.call('ZADD', base .. ':ages', time[1], time[1])
redis.call('HINCRBY', base .. ':total', 'accepted', number(#fresh))

local due = redis.call('ZCOUNT', READY, '-inf', number(now))
local wake = due > redis.call('ZCARD', base .. ':claims') * tonumber(ARGV[3])
  and redis.call('SET', base .. ':hint', '1', 'PX', HINT_MS, 'NX')
return { table.concat(flags), wake and 1 or 0 }
