-- Settle events of a claim: delivered and buried ones leave their lanes, released ones go back to their place.
-- Only what the claim still owns is touched; the rest is reported as lost. A released event takes along whatever follows
-- it within the claim, so that nothing behind it stays claimed; an event whose predecessor is unfinished cannot finish.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  claim id
-- ARGV[2]  longest hold, ms; for that long a key's last finish is remembered
-- ARGV[3]  how many events leave their lanes, then their sequences in ascending order
-- ARGV[…]  how many of these are buried, then for each its sequence and its letter: the others are delivered
-- ARGV[…]  how many are buried in their place, so that what is behind them waits, then for each its sequence and its
--          letter: the claim "held", which never ends, owns it from now on
-- ARGV[…]  how many are released, then for each its sequence, the delay in ms, what to note of the attempt: '' when it
--          was none, and the hold in ms that it has from now on: 0 when it keeps the one it has, or has none
--
-- Returns  {lost sequences, events that are ready now}
-- Clock    Redis' own.
local base, call = KEYS[1], redis.call
local sub, byte, char, find, format = string.sub, string.byte, string.char, string.find, string.format
local EVENT, LANE, PLACE, READY = base .. ':event', base .. ':lane', base .. ':links', base .. ':ready'
local OWNED = base .. ':claim:' .. ARGV[1]
local DIGEST, KEY_COUNT, SHARDS, HOT_LENGTH, ARGUMENTS = 8, 14, 16, 1000, 4000

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function bulk(command, key, values)
  for first = 1, #values, ARGUMENTS do
    call(command, key, unpack(values, first, math.min(first + ARGUMENTS - 1, #values)))
  end
end

local function look_up(command, key, names)
  if #names == 0 then
    return {}
  end
  local found = call(command, key, unpack(names, 1, math.min(ARGUMENTS, #names)))
  for first = ARGUMENTS + 1, #names, ARGUMENTS do
    for i, value in ipairs(call(command, key, unpack(names, first, math.min(first + ARGUMENTS - 1, #names)))) do
      found[first + i - 1] = value
    end
  end
  return found
end

local position = 3
local function section(width)
  local first = position + 1
  position = first + width * ARGV[position]
  return first, position - 1
end

local named, letters, holding, released = {}, {}, {}, {}
local first, last = section(1)
local finishing_count = last - first + 1
for at = first, last do
  named[at - first + 1] = ARGV[at]
end
first, last = section(2)
for at = first, last, 2 do
  letters[ARGV[at]] = ARGV[at + 1]
end
first, last = section(2)
for at = first, last, 2 do
  named[#named + 1] = ARGV[at]
  holding[#holding + 1] = at
end
first, last = section(4)
for at = first, last, 4 do
  named[#named + 1] = ARGV[at]
  released[#released + 1] = at
end

local is_owned, lost, is_lost = look_up('SMISMEMBER', OWNED, named), {}, {}
local finishing, count = {}, 0
for i = 1, #named do
  if is_owned[i] == 0 then
    lost[#lost + 1], is_lost[named[i]] = named[i], true
  elseif i <= finishing_count then
    count = count + 1
    finishing[count] = named[i]
  end
end

-- All that finishing needs is read at once, changed here, and written at once.
local records, places = look_up('HMGET', EVENT, finishing), look_up('HMGET', PLACE, finishing)

local some_hold = call('EXISTS', base .. ':cooldown') == 1
local holds_of_finishing = some_hold and look_up('HMGET', base .. ':cooldown', finishing) or {}

-- An event that was emptied meanwhile (forget.lua) leaves no letter.
local function is_empty(record)
  return #record == KEY_COUNT + byte(record, KEY_COUNT) * DIGEST
end

local function keep_letter(name, record, letter)
  call('HSET', base .. ':dead', name, record)
  call('HSET', base .. ':failure', name, letter)
  call('ZADD', base .. ':dead_index', name, name)
end

local longest_hold = tonumber(ARGV[2])
local finished, ages, apart, is_apart, buried, held = {}, {}, {}, {}, 0, 0
local heirs, passed = {}, {} -- the successors; how many lanes were passed on to each that has not finished itself
-- The lanes that had several events and lost some, by number: digest, head now or false, how many left it.
local digests, heads, left, lane_by, lane_count = {}, {}, {}, {}, 0
local empty_lanes, empty_count = {}, 0
local without_place, own_lanes = {}, {} -- own_lanes: of the event at hand, by the number of its key
for i = 1, count do
  local name, record, place, hold = finishing[i], records[i], places[i], holds_of_finishing[i]
  if place and byte(place) > (passed[name] or 0) then
    lost[#lost + 1] = name
  else
    for key = 0, byte(record, KEY_COUNT) - 1 do
      local at = KEY_COUNT + 1 + key * DIGEST
      local digest = sub(record, at, at + DIGEST - 1)
      if place then
        local lane = lane_by[digest]
        if not lane then
          lane_count = lane_count + 1
          lane = lane_count
          digests[lane], left[lane], lane_by[digest] = digest, 0, lane
        end
        heads[lane], left[lane], own_lanes[key] = false, left[lane] + 1, lane
      else -- it was alone
        empty_count = empty_count + 1
        empty_lanes[empty_count] = digest
      end
      if hold then
        apart[#apart + 1] = digest
        apart[#apart + 1] = now + hold
        is_apart[digest] = tonumber(hold) >= longest_hold
      end
    end
    if place then
      local at = 2
      while at < #place do
        local key, digits = byte(place, at, at + 1)
        local heir = sub(place, at + 2, at + 1 + digits)
        local passed_so_far = passed[heir]
        if not passed_so_far then
          heirs[#heirs + 1] = heir
        end
        heads[own_lanes[key]], passed[heir] = heir, (passed_so_far or 0) + 1
        at = at + 2 + digits
      end
      passed[name] = nil
      without_place[#without_place + 1] = name
    end
    if letters[name] and not is_empty(record) then
      keep_letter(name, record, letters[name])
      buried = buried + 1
    end
    local second = sub(record, 1, 10)
    ages[second] = (ages[second] or 0) + 1
    finished[#finished + 1] = name
  end
end

local lane_values, long_lanes, long_digests = {}, {}, {}
for lane = 1, lane_count do
  if heads[lane] then
    long_lanes[#long_lanes + 1] = lane
    long_digests[#long_digests + 1] = digests[lane]
  else
    empty_count = empty_count + 1
    empty_lanes[empty_count] = digests[lane]
    if left[lane] >= HOT_LENGTH then
      call('ZREM', base .. ':hot', digests[lane])
    end
  end
end
for i, text in ipairs(look_up('HMGET', LANE, long_digests)) do
  local lane, digest, tail_end = long_lanes[i], long_digests[i], 2 + byte(text, 2)
  local length = tonumber(sub(text, tail_end + 2 + byte(text, tail_end + 1)))
  local remaining, head = length - left[lane], heads[lane]
  lane_values[2 * i - 1] = digest
  lane_values[2 * i] = sub(text, 1, tail_end)
    .. (remaining > 1 and char(#head) .. head .. format('%d', remaining) or '')
  if length >= HOT_LENGTH and remaining < HOT_LENGTH then
    call('ZREM', base .. ':hot', digest)
  end
end

-- The successors of what finished wait for less, some for nothing.
local waiting, place_values, freed = {}, {}, {}
for i = 1, #heirs do
  if passed[heirs[i]] then
    waiting[#waiting + 1] = heirs[i]
  end
end
for i, place in ipairs(look_up('HMGET', PLACE, waiting)) do
  local heir, waits = waiting[i], byte(place) - passed[waiting[i]]
  if waits == 0 then
    freed[#freed + 1] = heir
  end
  if waits == 0 and #place == 1 then
    without_place[#without_place + 1] = heir
  else
    place_values[#place_values + 1] = heir
    place_values[#place_values + 1] = char(waits) .. sub(place, 2)
  end
end
bulk('HSET', LANE, lane_values)
bulk('HDEL', LANE, empty_lanes)
bulk('HSET', PLACE, place_values)
bulk('HDEL', PLACE, without_place)

-- When a key was last used is only asked for what has a hold, which is rare: so it is noted as cheaply as can be, one text
-- for one of 16 parts of all keys, `DIGEST TIME` after `DIGEST TIME`. What keeps everybody apart anyway needs no note.
local generation = math.floor(now / math.max(longest_hold, 1))
if longest_hold > 0 then
  local shards, now_text = {}, format('%d', now)
  for _, digests in ipairs({ empty_lanes, long_digests }) do
    for i = 1, #digests do
      local digest = digests[i]
      if not is_apart[digest] then
        local shard = byte(digest) % SHARDS
        local notes = shards[shard]
        if notes then
          notes[#notes + 1] = digest
        else
          shards[shard] = { digest }
        end
      end
    end
  end
  for shard, notes in pairs(shards) do
    local rested = base .. ':finished_at:' .. generation .. ':' .. shard
    local text = table.concat(notes, now_text) .. now_text
    if call('APPEND', rested, text) == #text then
      call('PEXPIRE', rested, 2 * longest_hold)
    end
  end
  if #apart > 0 then
    bulk('HSET', base .. ':cooling_until:' .. generation, apart)
    call('PEXPIRE', base .. ':cooling_until:' .. generation, 2 * longest_hold)
  end
end

-- What became free is ready, unless it stands in this very claim. Its own hold counts from now, that of what went before
-- from when that finished.
local in_claim, holds, freed_records = look_up('SMISMEMBER', OWNED, freed), {}, {}
if some_hold then
  holds = look_up('HMGET', base .. ':cooldown', freed)
end
local apart_keys = { base .. ':cooling_until:' .. generation, base .. ':cooling_until:' .. generation - 1 }
if call('EXISTS', unpack(apart_keys)) > 0 then
  freed_records = look_up('HMGET', EVENT, freed)
end
local function apart_until(record)
  local digests, time = {}, 0
  for at = KEY_COUNT + 1, KEY_COUNT + byte(record, KEY_COUNT) * DIGEST, DIGEST do
    digests[#digests + 1] = sub(record, at, at + DIGEST - 1)
  end
  for _, key in ipairs(apart_keys) do
    for _, found in ipairs(call('HMGET', key, unpack(digests))) do
      time = math.max(time, tonumber(found or 0))
    end
  end
  return time
end
local ready = {}
for i, name in ipairs(freed) do
  if in_claim[i] == 0 then
    local due = now + (holds[i] or 0)
    if freed_records[i] then
      due = math.max(due, apart_until(freed_records[i]))
    end
    ready[#ready + 1] = due
    ready[#ready + 1] = name
  end
end
bulk('ZADD', READY, ready)

bulk('HDEL', EVENT, finished)
for _, suffix in ipairs({ ':cooldown', ':attempts', ':expired_claims' }) do
  if call('EXISTS', base .. suffix) == 1 then
    bulk('HDEL', base .. suffix, finished)
  end
end
if call('SCARD', OWNED) == #finished then
  call('DEL', OWNED)
else
  bulk('SREM', OWNED, finished)
end
for second, left_then in pairs(ages) do
  if call('HINCRBY', base .. ':age', second, -left_then) == 0 then
    call('HDEL', base .. ':age', second)
    call('ZREM', base .. ':ages', second)
  end
end

local function let_go_of_followers(name)
  local behind = { name }
  while #behind > 0 do
    local place, at = call('HGET', PLACE, table.remove(behind)), 2
    while place and at < #place do
      local digits = byte(place, at + 1)
      local follower = sub(place, at + 2, at + 1 + digits)
      if call('SREM', OWNED, follower) == 1 then
        behind[#behind + 1] = follower
      end
      at = at + 2 + digits
    end
  end
end

-- Return when the keys of an event will have rested for that long.
local function rested_for(hold, record)
  local due = now
  for at = KEY_COUNT + 1, KEY_COUNT + byte(record, KEY_COUNT) * DIGEST, DIGEST do
    local digest = sub(record, at, at + DIGEST - 1)
    for back = 0, 1 do
      local notes = call('GET', base .. ':finished_at:' .. generation - back .. ':' .. byte(digest) % SHARDS) or ''
      local found = find(notes, digest, 1, true)
      while found do
        if found % (DIGEST + 13) == 1 then
          due = math.max(due, sub(notes, found + DIGEST, found + DIGEST + 12) + hold)
        end
        found = find(notes, digest, found + 1, true)
      end
    end
  end
  return due
end

local let_go = 0
local function release(name, delay, hold)
  call('SREM', OWNED, name)
  let_go_of_followers(name)
  if hold > 0 then
    call('HSET', base .. ':cooldown', name, hold)
  end
  local place = call('HGET', PLACE, name)
  if not place or byte(place) == 0 then
    local rested = hold > 0 and rested_for(hold, call('HGET', EVENT, name)) or now
    call('ZADD', READY, math.max(now + delay, rested), name)
  end
  let_go = let_go + 1
end

for _, at in ipairs(released) do
  local name, delay, attempt = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if not is_lost[name] then
    if attempt ~= '' then
      call('HSET', base .. ':attempts', name, (call('HGET', base .. ':attempts', name) or '') .. attempt .. '\n')
    end
    release(name, delay, tonumber(ARGV[at + 3]))
  end
end

-- What follows a released event is no longer owned, and cannot hold.
for _, at in ipairs(holding) do
  local name = ARGV[at]
  local record = call('HGET', EVENT, name)
  if record and is_empty(record) and call('SISMEMBER', OWNED, name) == 1 then
    release(name, 0, 0)
  elseif call('SMOVE', OWNED, base .. ':claim:blocking', name) == 1 then
    let_go_of_followers(name)
    keep_letter(name, record, ARGV[at + 1])
    buried, held = buried + 1, held + 1
  end
end

if call('EXISTS', OWNED) == 0 then
  call('ZREM', base .. ':claims', ARGV[1])
end

for what, how_many in pairs({ delivered = #finished + held - buried, buried = buried, released = let_go }) do
  if how_many ~= 0 then
    call('HINCRBY', base .. ':total', what, how_many)
  end
end
return { lost, call('ZCOUNT', READY, '-inf', now) }
