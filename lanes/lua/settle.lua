-- Settle events of a claim: delivered and buried ones leave their lanes, released ones go back to their place.
-- Only what the claim still owns is touched; the rest is reported as lost. A released event takes along whatever follows
-- it within the claim, so that nothing behind it stays claimed; an event whose predecessor is unfinished cannot finish.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  claim id
-- ARGV[2]  longest hold, ms; for that long a key's last finish is remembered
-- ARGV[3]  how many events are delivered, then their sequences in ascending order
-- ARGV[…]  how many are buried, then for each (ascending) its sequence, its letter, and '1' when what is behind it is to
--          wait: then it keeps its place, owned by the claim "held" that never ends
-- ARGV[…]  how many are released, then for each its sequence, the delay in ms, and '1' when it counts as an attempt
--
-- Returns  {lost sequences, events that are ready now}
-- Clock    Redis' own.
local base = KEYS[1]
local EVENT, LANE, NEXT, WAIT, READY = base .. ':event', base .. ':lane', base .. ':next', base .. ':wait', base .. ':ready'
local OWNED = base .. ':claim:' .. ARGV[1]
local DIGEST, LINK, KEYS_START, HOT_LENGTH, ARGUMENTS = 8, 20, 16, 1000, 4000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function number(n)
  return string.format('%d', n)
end

local function bulk(command, key, values)
  for first = 1, #values, ARGUMENTS do
    redis.call(command, key, unpack(values, first, math.min(first + ARGUMENTS - 1, #values)))
  end
end

local function look_up(command, key, names)
  local found = {}
  for first = 1, #names, ARGUMENTS do
    local last = math.min(first + ARGUMENTS - 1, #names)
    local values = redis.call(command, key, unpack(names, first, last))
    for i = first, last do
      found[names[i]] = values[i - first + 1]
    end
  end
  return found
end

local function successor_of(links, at)
  return number(tonumber(string.sub(links, at + DIGEST, at + LINK - 1), 16))
end

local position = 3
local function section(width)
  local count, rows = tonumber(ARGV[position]), {}
  position = position + 1
  for _ = 1, count do
    rows[#rows + 1] = { unpack(ARGV, position, position + width - 1) }
    position = position + width
  end
  return rows
end

local delivered, buried, released = section(1), section(3), section(3)

local named = {}
for _, rows in ipairs({ delivered, buried, released }) do
  for _, row in ipairs(rows) do
    named[#named + 1] = row[1]
  end
end
local is_owned, lost = look_up('SMISMEMBER', OWNED, named), {}
for _, name in ipairs(named) do
  if is_owned[name] == 0 then
    lost[#lost + 1] = name
  end
end

local finishing, letters, holding = {}, {}, {}
for _, rows in ipairs({ delivered, buried }) do
  for _, row in ipairs(rows) do
    if is_owned[row[1]] == 1 and row[3] == '1' then
      holding[#holding + 1] = row
    elseif is_owned[row[1]] == 1 then
      finishing[#finishing + 1] = row[1]
      letters[row[1]] = row[2]
    end
  end
end
table.sort(finishing, function(a, b)
  return tonumber(a) < tonumber(b)
end)

-- All that finishing needs is read at once, changed here, and written at once.
local records, links = look_up('HMGET', EVENT, finishing), look_up('HMGET', NEXT, finishing)
local digests, waiting, met = {}, {}, {}
for _, name in ipairs(finishing) do
  local keys_end = KEYS_START - 1 + tonumber(string.sub(records[name], 14, 15), 16) * DIGEST
  for at = KEYS_START, keys_end, DIGEST do
    local digest = string.sub(records[name], at, at + DIGEST - 1)
    if not met[digest] then
      met[digest] = true
      digests[#digests + 1] = digest
    end
  end
  waiting[#waiting + 1] = name
  for at = 1, links[name] and #links[name] or 0, LINK do
    waiting[#waiting + 1] = successor_of(links[name], at)
  end
end
local lanes, waits = look_up('HMGET', LANE, digests), look_up('HMGET', WAIT, waiting)

local some_hold = redis.call('EXISTS', base .. ':hold') == 1
local own_hold = some_hold and look_up('HMGET', base .. ':hold', finishing) or {}

local moved, freed, finished, ages, rested, apart = {}, {}, {}, {}, {}, {}
local function keep_letter(name, record, letter)
  redis.call('HSET', base .. ':dead', name, record)
  redis.call('HSET', base .. ':letter', name, letter)
  redis.call('ZADD', base .. ':grave', name, name)
end

local function finish(name)
  local heirs = {}
  for at = 1, links[name] and #links[name] or 0, LINK do
    local successor = successor_of(links[name], at)
    heirs[string.sub(links[name], at, at + DIGEST - 1)] = successor
    waits[successor] = waits[successor] - 1
    moved[successor] = true
    if waits[successor] == 0 then
      freed[#freed + 1] = successor
    end
  end
  local record = records[name]
  local keys_end = KEYS_START - 1 + tonumber(string.sub(record, 14, 15), 16) * DIGEST
  for at = KEYS_START, keys_end, DIGEST do
    local digest = string.sub(record, at, at + DIGEST - 1)
    local heir = heirs[digest]
    rested[#rested + 1] = digest
    rested[#rested + 1] = number(now)
    if own_hold[name] then
      apart[#apart + 1] = digest
      apart[#apart + 1] = number(now + own_hold[name])
    end
    if heir then
      local tail, length = string.match(lanes[digest], ' (%d+) (%d+)')
      lanes[digest] = heir .. ' ' .. tail .. ' ' .. number(length - 1)
      if tonumber(length) == HOT_LENGTH then
        redis.call('ZREM', base .. ':hot', digest)
      end
    else
      lanes[digest] = false
    end
  end
  if letters[name] then
    keep_letter(name, record, letters[name])
  end
  local second = string.sub(record, 1, 10)
  ages[second] = (ages[second] or 0) + 1
  finished[#finished + 1] = name
end

for _, name in ipairs(finishing) do
  if tonumber(waits[name] or 0) > 0 then
    lost[#lost + 1] = name
    letters[name] = nil
  else
    finish(name)
  end
end

local lane_values, empty_lanes = {}, {}
for _, digest in ipairs(digests) do
  if lanes[digest] then
    lane_values[#lane_values + 1] = digest
    lane_values[#lane_values + 1] = lanes[digest]
  else
    empty_lanes[#empty_lanes + 1] = digest
  end
end
local wait_values = {}
for successor in pairs(moved) do
  if waits[successor] > 0 then
    wait_values[#wait_values + 1] = successor
    wait_values[#wait_values + 1] = number(waits[successor])
  end
end
bulk('HSET', LANE, lane_values)
bulk('HDEL', LANE, empty_lanes)
bulk('HSET', WAIT, wait_values)
bulk('HDEL', WAIT, freed)

local longest_hold = tonumber(ARGV[2])
local generation = math.floor(now / math.max(longest_hold, 1))
local function remember(suffix, values)
  if #values > 0 and longest_hold > 0 then
    bulk('HSET', base .. suffix .. number(generation), values)
    redis.call('PEXPIRE', base .. suffix .. number(generation), number(2 * longest_hold))
  end
end
remember(':rested:', rested)
remember(':apart:', apart)

-- What became free is ready, unless it stands in this very claim. Its own hold counts from now, that of what went before
-- from when that finished.
local in_claim, holds, freed_records = look_up('SMISMEMBER', OWNED, freed), {}, {}
if some_hold then
  holds = look_up('HMGET', base .. ':hold', freed)
end
local apart_keys = { base .. ':apart:' .. number(generation), base .. ':apart:' .. number(generation - 1) }
if redis.call('EXISTS', unpack(apart_keys)) > 0 then
  freed_records = look_up('HMGET', EVENT, freed)
end
local function apart_until(record)
  local digests, time = {}, 0
  local keys_end = KEYS_START - 1 + tonumber(string.sub(record, 14, 15), 16) * DIGEST
  for at = KEYS_START, keys_end, DIGEST do
    digests[#digests + 1] = string.sub(record, at, at + DIGEST - 1)
  end
  for _, key in ipairs(apart_keys) do
    for _, found in ipairs(redis.call('HMGET', key, unpack(digests))) do
      time = math.max(time, tonumber(found or 0))
    end
  end
  return time
end
for _, name in ipairs(freed) do
  if in_claim[name] == 0 then
    local due = now + (holds[name] or 0)
    if freed_records[name] then
      due = math.max(due, apart_until(freed_records[name]))
    end
    redis.call('ZADD', READY, number(due), name)
  end
end

for _, suffix in ipairs({ ':event', ':next', ':hold', ':attempts', ':deaths' }) do
  bulk('HDEL', base .. suffix, finished)
end
bulk('SREM', OWNED, finished)
for second, count in pairs(ages) do
  if redis.call('HINCRBY', base .. ':age', second, number(-count)) == 0 then
    redis.call('HDEL', base .. ':age', second)
    redis.call('ZREM', base .. ':ages', second)
  end
end

local function let_go_of_followers(name)
  local behind = { name }
  while #behind > 0 do
    local behind_it = redis.call('HGET', NEXT, table.remove(behind)) or ''
    for at = 1, #behind_it, LINK do
      local follower = successor_of(behind_it, at)
      if redis.call('SREM', OWNED, follower) == 1 then
        behind[#behind + 1] = follower
      end
    end
  end
end

local let_go = 0
for _, row in ipairs(released) do
  local name, delay, counts = row[1], row[2], row[3]
  if is_owned[name] == 1 then
    redis.call('SREM', OWNED, name)
    let_go_of_followers(name)
    if counts == '1' then
      redis.call('HINCRBY', base .. ':attempts', name, 1)
    end
    if redis.call('HEXISTS', WAIT, name) == 0 then
      redis.call('ZADD', READY, number(now + delay), name)
    end
    let_go = let_go + 1
  end
end

for _, row in ipairs(holding) do
  local name = row[1]
  redis.call('SMOVE', OWNED, base .. ':claim:held', name)
  let_go_of_followers(name)
  keep_letter(name, redis.call('HGET', EVENT, name), row[2])
end

if redis.call('EXISTS', OWNED) == 0 then
  redis.call('ZREM', base .. ':claims', ARGV[1])
end

local bury = #holding
for _ in pairs(letters) do
  bury = bury + 1
end
redis.call('HINCRBY', base .. ':total', 'delivered', number(#finished + #holding - bury))
redis.call('HINCRBY', base .. ':total', 'buried', number(bury))
redis.call('HINCRBY', base .. ':total', 'released', number(let_go))
return { lost, redis.call('ZCOUNT', READY, '-inf', number(now)) }
