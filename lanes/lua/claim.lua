-- Claim events that are due, then follow the chains: a successor comes along when all it waits for is in this claim.
-- Everything at one depth may be sent together, since no two events of one depth share a key. An event with a hold comes
-- alone: its neighbours have to wait, and a claim has no time for that.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  claim id, never used before
-- ARGV[2]  lease, ms
-- ARGV[3]  most events
-- ARGV[4]  most bytes of records (the first event comes along whatever its size)
-- ARGV[5]  greatest depth (0: only events that are ready)
-- ARGV[6]  how long the caller goes on asking when there is nothing to claim, ms: nobody else need be woken meanwhile
-- ARGV[7]  ready events that one open claim is expected to take care of
-- ARGV[8]  longest hold, ms
--
-- Returns  {due, wake, sequence, depth, attempts, deaths, record, …}: five per event, by depth; due: ms until the next
--          delayed event when nothing was claimed, -1 when there is none; wake: 1 when one more deliverer is wanted.
-- The more often an event's claims died, the fewer events may share its next one: 50, 5, then it is claimed alone. So a
-- poisonous event is told from its neighbours, and they get away. Threads of one process die together, so of the events
-- that are claimed alone only one is under way at a time.
-- Clock    Redis' own.
local base = KEYS[1]
local EVENT, NEXT, READY = base .. ':event', base .. ':next', base .. ':ready'
local most_events, most_bytes, greatest_depth = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local DIGEST, LINK, KEYS_START, HINT_MS = 8, 20, 16, 200
local MAY_SHARE = { [0] = most_events, 50, 5 }
local ALONE = 3

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function number(n)
  return string.format('%d', n)
end

local due = redis.call('ZRANGEBYSCORE', READY, '-inf', number(now), 'LIMIT', 0, most_events)
if #due == 0 then
  if ARGV[6] == '0' then
    redis.call('DEL', base .. ':hint')
  else
    redis.call('SET', base .. ':hint', '1', 'PX', ARGV[6])
  end
  local later = redis.call('ZRANGE', READY, 0, 0, 'WITHSCORES')
  return { later[2] and number(later[2] - now) or '-1', 0 }
end

local nothing = {}
local function fields(suffix, names)
  if redis.call('EXISTS', base .. suffix) == 0 then
    return nothing
  end
  return redis.call('HMGET', base .. suffix, unpack(names))
end

-- A claim of an event that must be alone has no other; any other claim's events all died less often.
local function another_is_alone()
  for _, claim in ipairs(redis.call('ZRANGE', base .. ':claims', 0, -1)) do
    local name = redis.call('SRANDMEMBER', base .. ':claim:' .. claim)
    if name and tonumber(redis.call('HGET', base .. ':deaths', name) or 0) >= ALONE then
      return true
    end
  end
  return false
end

local reply, claimed, bytes, allowed = { '-1', 0 }, {}, 0, most_events
local function take(names, depth)
  local records = redis.call('HMGET', EVENT, unpack(names))
  local attempts, deaths = fields(':attempts', names), fields(':deaths', names)
  local taken = {}
  for i, name in ipairs(names) do
    if #claimed > 0 and (bytes + #records[i] > most_bytes or #claimed >= allowed) then
      allowed = 0
      break
    end
    local died = tonumber(deaths[i] or 0)
    local share = MAY_SHARE[died] or 1
    if #claimed < share and (died < ALONE or not another_is_alone()) then
      allowed = math.min(allowed, share)
      bytes = bytes + #records[i]
      claimed[#claimed + 1] = name
      taken[#taken + 1] = name
      reply[#reply + 1] = name
      reply[#reply + 1] = number(depth)
      reply[#reply + 1] = attempts[i] or '0'
      reply[#reply + 1] = deaths[i] or '0'
      reply[#reply + 1] = records[i]
    end
  end
  return taken
end

local frontier = take(due, 0)
if #frontier == 0 then
  return { '-1', 0 }
end
redis.call('ZREM', READY, unpack(frontier))

local missing = {}
local function successors(names)
  local met = {}
  for _, links in ipairs(redis.call('HMGET', NEXT, unpack(names))) do
    for at = 1, links and #links or 0, LINK do
      local name = number(tonumber(string.sub(links, at + DIGEST, at + LINK - 1), 16))
      if not missing[name] then
        missing[name] = tonumber(redis.call('HGET', base .. ':wait', name))
      end
      missing[name] = missing[name] - 1
      if missing[name] == 0 then
        met[#met + 1] = name
      end
    end
  end
  return met
end

local function without_hold(names)
  local holds, free = #names > 0 and fields(':hold', names) or nothing, {}
  for i, name in ipairs(names) do
    if not holds[i] then
      free[#free + 1] = name
    end
  end
  return free
end

local generation = math.floor(now / math.max(tonumber(ARGV[8]), 1))
local apart = { base .. ':apart:' .. number(generation), base .. ':apart:' .. number(generation - 1) }
local function must_wait(record)
  local digests, keys_end = {}, KEYS_START - 1 + tonumber(string.sub(record, 14, 15), 16) * DIGEST
  for at = KEYS_START, keys_end, DIGEST do
    digests[#digests + 1] = string.sub(record, at, at + DIGEST - 1)
  end
  for _, key in ipairs(apart) do
    for _, found in ipairs(redis.call('HMGET', key, unpack(digests))) do
      if tonumber(found or 0) > now then
        return true
      end
    end
  end
  return false
end

local function followers(names)
  local led = without_hold(names)
  local free = #led > 0 and without_hold(successors(led)) or {}
  if #free == 0 or redis.call('EXISTS', unpack(apart)) == 0 then
    return free
  end
  local at_once = {}
  for i, record in ipairs(redis.call('HMGET', EVENT, unpack(free))) do
    if not must_wait(record) then
      at_once[#at_once + 1] = free[i]
    end
  end
  return at_once
end

local depth = 0
while depth < greatest_depth and #claimed < allowed and #frontier > 0 do
  depth = depth + 1
  frontier = followers(frontier)
  if #frontier > 0 then
    frontier = take(frontier, depth)
  end
end

redis.call('SADD', base .. ':claim:' .. ARGV[1], unpack(claimed))
redis.call('ZADD', base .. ':claims', number(now + ARGV[2]), ARGV[1])
if redis.call('ZCOUNT', READY, '-inf', number(now)) > redis.call('ZCARD', base .. ':claims') * tonumber(ARGV[7])
  and redis.call('SET', base .. ':hint', '1', 'PX', HINT_MS, 'NX') then
  reply[2] = 1
end
return reply
