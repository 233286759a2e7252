-- Settle events of a claim: delivered and buried ones leave their lanes, released ones go back to their place.
-- Only what the claim still owns is touched; the rest is reported as lost. A released event takes along whatever follows
-- it within the claim, so that nothing behind it stays claimed; an event whose predecessor is unfinished cannot finish.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  claim id
-- ARGV[2]  how many events are delivered, then their sequences in ascending order
-- ARGV[…]  how many are buried, then for each (ascending) its sequence and its letter
-- ARGV[…]  how many are released, then for each its sequence, the delay in ms, and '1' when it counts as an attempt
--
-- Returns  {lost sequences, events that are ready now}
-- Clock    Redis' own.
local base = KEYS[1]
local EVENT, LANE, NEXT, WAIT, READY = base .. ':event', base .. ':lane', base .. ':next', base .. ':wait', base .. ':ready'
local OWNED = base .. ':claim:' .. ARGV[1]
local DIGEST, LINK, KEYS_START, HOT_LENGTH = 8, 20, 16, 1000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function number(n)
  return string.format('%d', n)
end

local position = 2
local function section(width)
  local count, rows = tonumber(ARGV[position]), {}
  position = position + 1
  for _ = 1, count do
    rows[#rows + 1] = { unpack(ARGV, position, position + width - 1) }
    position = position + width
  end
  return rows
end

local lost = {}
local function owned(rows)
  local kept = {}
  for _, row in ipairs(rows) do
    if redis.call('SISMEMBER', OWNED, row[1]) == 1 then
      kept[#kept + 1] = row
    else
      lost[#lost + 1] = row[1]
    end
  end
  return kept
end

local delivered, buried, released = owned(section(1)), owned(section(2)), owned(section(3))

local finishing, letters = {}, {}
for _, row in ipairs(delivered) do
  finishing[#finishing + 1] = row[1]
end
for _, row in ipairs(buried) do
  finishing[#finishing + 1] = row[1]
  letters[row[1]] = row[2]
end
table.sort(finishing, function(a, b)
  return tonumber(a) < tonumber(b)
end)

local function leave_lane(digest, name, successor)
  local lane = redis.call('HGET', LANE, digest)
  local _, tail, length = string.match(lane, '(%d+) (%d+) (%d+)')
  if not successor then
    redis.call('HDEL', LANE, digest)
  else
    redis.call('HSET', LANE, digest, successor .. ' ' .. tail .. ' ' .. number(length - 1))
    if tonumber(length) == HOT_LENGTH then
      redis.call('ZREM', base .. ':hot', digest)
    end
  end
end

local function free(name)
  redis.call('HDEL', WAIT, name)
  if redis.call('SISMEMBER', OWNED, name) == 0 then
    local hold = redis.call('HGET', base .. ':hold', name) or 0
    redis.call('ZADD', READY, number(now + hold), name)
  end
end

local ages, finished = {}, {}
local function finish(name)
  local record = redis.call('HGET', EVENT, name)
  local links = redis.call('HGET', NEXT, name) or ''
  local successor = {}
  for at = 1, #links, LINK do
    local next_name = number(tonumber(string.sub(links, at + DIGEST, at + LINK - 1), 16))
    successor[string.sub(links, at, at + DIGEST - 1)] = next_name
    if redis.call('HINCRBY', WAIT, next_name, -1) == 0 then
      free(next_name)
    end
  end
  local keys_end = KEYS_START - 1 + tonumber(string.sub(record, 14, 15), 16) * DIGEST
  for at = KEYS_START, keys_end, DIGEST do
    local digest = string.sub(record, at, at + DIGEST - 1)
    leave_lane(digest, name, successor[digest])
  end
  if letters[name] then
    redis.call('HSET', base .. ':dead', name, record)
    redis.call('HSET', base .. ':letter', name, letters[name])
  end
  local second = string.sub(record, 1, 10)
  ages[second] = (ages[second] or 0) + 1
  finished[#finished + 1] = name
end

local unfinished = #finishing > 0 and redis.call('EXISTS', WAIT) == 1
for _, name in ipairs(finishing) do
  if unfinished and redis.call('HEXISTS', WAIT, name) == 1 then
    lost[#lost + 1] = name
    letters[name] = nil
  else
    finish(name)
  end
end

if #finished > 0 then
  for _, suffix in ipairs({ ':event', ':next', ':hold', ':attempts', ':deaths' }) do
    redis.call('HDEL', base .. suffix, unpack(finished))
  end
  redis.call('SREM', OWNED, unpack(finished))
end
for second, count in pairs(ages) do
  if redis.call('HINCRBY', base .. ':age', second, number(-count)) == 0 then
    redis.call('HDEL', base .. ':age', second)
    redis.call('ZREM', base .. ':ages', second)
  end
end

local function let_go_of_followers(name)
  local behind = { name }
  while #behind > 0 do
    local links = redis.call('HGET', NEXT, table.remove(behind)) or ''
    for at = 1, #links, LINK do
      local follower = number(tonumber(string.sub(links, at + DIGEST, at + LINK - 1), 16))
      if redis.call('SREM', OWNED, follower) == 1 then
        behind[#behind + 1] = follower
      end
    end
  end
end

for _, row in ipairs(released) do
  local name, delay, counts = row[1], row[2], row[3]
  redis.call('SREM', OWNED, name)
  let_go_of_followers(name)
  if counts == '1' then
    redis.call('HINCRBY', base .. ':attempts', name, 1)
  end
  if redis.call('HEXISTS', WAIT, name) == 0 then
    redis.call('ZADD', READY, number(now + delay), name)
  end
end

if redis.call('EXISTS', OWNED) == 0 then
  redis.call('ZREM', base .. ':claims', ARGV[1])
end

local bury = 0
for _ in pairs(letters) do
  bury = bury + 1
end
redis.call('HINCRBY', base .. ':total', 'delivered', number(#finished - bury))
redis.call('HINCRBY', base .. ':total', 'buried', number(bury))
redis.call('HINCRBY', base .. ':total', 'released', number(#released))
return { lost, redis.call('ZCOUNT', READY, '-inf', number(now)) }
