-- Claim events that are due, then follow the chains: a successor comes along when all it waits for is in this claim.
-- Everything at one depth may be sent together, since no two events of one depth share a key. An event with a hold comes
-- alone: its neighbours have to wait, and a claim has no time for that. Not everything that is due is taken, so that other
-- claims find something too: while one waits for Redis or the service, another computes.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  claim id, never used before
-- ARGV[2]  lease, ms
-- ARGV[3]  most events
-- ARGV[4]  most bytes of records (the first event comes along whatever its size)
-- ARGV[5]  greatest depth (0: only events that are ready)
-- ARGV[6]  how long the caller goes on asking when there is nothing to claim, ms: nobody else need be woken meanwhile
-- ARGV[7]  ready events that one open claim is expected to take care of; it starts with twice as many at most
-- ARGV[8]  longest hold, ms
-- ARGV[9]  how long an event that is due may wait for company, ms: while other claims are open, fewer events than would
--          be expected of them and this one are left alone for that long, unless chains are long
-- ARGV[10] how many claims share what is due where chains are long
--
-- Returns  {due, wake, how many events at each depth, sequences, records, attempts, deaths}: the last four one per event,
--          by depth; but attempts and deaths (a line for each) are empty when no event has any. due: ms until there may be
--          something to claim when nothing was claimed, -1 when there is no event; wake: how many more deliverers are
--          wanted.
-- The more often an event's claims died, the fewer events may share its next one: 50, 5, then it is claimed alone. So a
-- poisonous event is told from its neighbours, and they get away. Threads of one process die together, so of the events
-- that are claimed alone only one is under way at a time.
-- Clock    Redis' own.
local base, call = KEYS[1], redis.call
local sub, byte = string.sub, string.byte
local EVENT, LANE, PLACE, READY = base .. ':event', base .. ':lane', base .. ':links', base .. ':ready'
local most_events, most_bytes, greatest_depth = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local DIGEST, KEY_COUNT, HINT_MS, MOST_WAKES = 8, 14, 200, 4
local MAY_SHARE = { [0] = most_events, 50, 5 }
local ALONE = 3
local LONG, LEAST = 10, 5

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local most_ready = math.min(most_events, 2 * ARGV[7])
local due = call('ZRANGEBYSCORE', READY, '-inf', now, 'LIMIT', 0, most_ready)
local open_claims, wait = call('ZCARD', base .. ':claims'), #due == 0 and -1 or 0
local is_long = call('HLEN', EVENT) > LONG * call('HLEN', LANE)
if #due == 0 or (open_claims > 0 and not is_long and #due < math.min(most_ready, ARGV[7] * (open_claims + 1))) then
  local first = call('ZRANGE', READY, 0, 0, 'WITHSCORES')[2]
  wait = first and first - now + (#due > 0 and ARGV[9] or 0) or -1
end
if #due == 0 or wait > 0 then
  if ARGV[6] == '0' then
    call('DEL', base .. ':wakeup')
  else
    call('SET', base .. ':wakeup', '1', 'PX', ARGV[6])
  end
  return { wait, 0, {}, {}, {}, {}, {} }
end

-- Where chains are long, half of what is due is left to other deliverers: what shares a claim waits for one answer after
-- the other.
local shares = is_long and #due > LEAST and #due < most_ready and open_claims < ARGV[10] - 1
for i = #due, shares and math.max(LEAST, math.ceil(#due / 2)) + 1 or #due + 1, -1 do
  due[i] = nil
end

local function exists(key)
  return call('EXISTS', key) == 1
end
local some_attempts, some_deaths = exists(base .. ':attempts'), exists(base .. ':expired_claims')
local some_hold = exists(base .. ':cooldown')

local function count(lines)
  return select(2, string.gsub(lines or '', '\n', ''))
end

-- A claim of an event that must be alone has no other; any other claim's events all died less often.
local function another_is_alone()
  for _, claim in ipairs(call('ZRANGE', base .. ':claims', 0, -1)) do
    local name = call('SRANDMEMBER', base .. ':claim:' .. claim)
    if name and count(call('HGET', base .. ':expired_claims', name)) >= ALONE then
      return true
    end
  end
  return false
end

local claimed, records, attempts, deaths = {}, {}, {}, {}
local bytes, taken_count, allowed = 0, 0, most_events
local function take(names)
  local found = call('HMGET', EVENT, unpack(names))
  local tried = some_attempts and call('HMGET', base .. ':attempts', unpack(names))
  local died = some_deaths and call('HMGET', base .. ':expired_claims', unpack(names))
  local first = taken_count + 1
  for i = 1, #names do
    local record, deaths_of_it = found[i], died and count(died[i]) or 0
    local bytes_then, count_then = bytes + #record, taken_count + 1
    if count_then > 1 and (bytes_then > most_bytes or count_then > allowed) then
      allowed = 0
      break
    end
    local share = MAY_SHARE[deaths_of_it] or 1
    if count_then <= share and (deaths_of_it < ALONE or not another_is_alone()) then
      allowed = share < allowed and share or allowed
      bytes, taken_count = bytes_then, count_then
      claimed[count_then], records[count_then] = names[i], record
      if tried then
        attempts[count_then] = tried[i] or ''
      end
      if died then
        deaths[count_then] = died[i] or ''
      end
    end
  end
  return { unpack(claimed, first, taken_count) }
end

local frontier = take(due)
if #frontier == 0 then
  return { -1, 0, {}, {}, {}, {}, {} }
end
if some_deaths then
  call('ZREM', READY, unpack(frontier))
else -- nothing was passed over: these stand first
  call('ZREMRANGEBYRANK', READY, 0, #frontier - 1)
end

local places, missing = {}, {}
local function read_places(names)
  if #names > 0 then
    local found = call('HMGET', PLACE, unpack(names))
    for i = 1, #names do
      if found[i] then
        places[names[i]] = found[i]
      end
    end
  end
end

-- Return the successors of the names that wait for nothing outside this claim.
local function successors(names)
  local behind, unknown, met = {}, {}, {}
  for i = 1, #names do
    local place, at = places[names[i]], 2
    while place and at < #place do
      local digits = byte(place, at + 1)
      local successor = sub(place, at + 2, at + 1 + digits)
      behind[#behind + 1] = successor
      if not missing[successor] then
        missing[successor] = 0
        unknown[#unknown + 1] = successor
      end
      at = at + 2 + digits
    end
  end
  read_places(unknown)
  for i = 1, #unknown do
    local successor = unknown[i]
    missing[successor] = byte(places[successor])
  end
  for i = 1, #behind do
    local successor = behind[i]
    local still_missing = missing[successor] - 1
    missing[successor] = still_missing
    if still_missing == 0 then
      met[#met + 1] = successor
    end
  end
  return met
end

local function without_hold(names)
  if not some_hold or #names == 0 then
    return names
  end
  local free = {}
  for i, hold in ipairs(call('HMGET', base .. ':cooldown', unpack(names))) do
    if not hold then
      free[#free + 1] = names[i]
    end
  end
  return free
end

local generation = math.floor(now / math.max(tonumber(ARGV[8]), 1))
local apart = { base .. ':cooling_until:' .. generation, base .. ':cooling_until:' .. generation - 1 }
local some_are_apart = call('EXISTS', unpack(apart)) > 0
local function must_wait(record)
  local digests = {}
  for at = KEY_COUNT + 1, KEY_COUNT + byte(record, KEY_COUNT) * DIGEST, DIGEST do
    digests[#digests + 1] = sub(record, at, at + DIGEST - 1)
  end
  for _, key in ipairs(apart) do
    for _, found in ipairs(call('HMGET', key, unpack(digests))) do
      if tonumber(found or 0) > now then
        return true
      end
    end
  end
  return false
end

local function followers(names)
  local free = without_hold(successors(without_hold(names)))
  if #free == 0 or not some_are_apart then
    return free
  end
  local at_once = {}
  for i, record in ipairs(call('HMGET', EVENT, unpack(free))) do
    if not must_wait(record) then
      at_once[#at_once + 1] = free[i]
    end
  end
  return at_once
end

local at_depth = { #frontier }
if greatest_depth > 0 and taken_count < allowed then
  read_places(frontier)
end
while #at_depth <= greatest_depth and taken_count < allowed and #frontier > 0 do
  frontier = followers(frontier)
  if #frontier > 0 then
    frontier = take(frontier)
    at_depth[#at_depth + 1] = #frontier
  end
end

call('SADD', base .. ':claim:' .. ARGV[1], unpack(claimed))
call('ZADD', base .. ':claims', now + ARGV[2], ARGV[1])
local wanted = math.min(math.ceil(call('ZCOUNT', READY, '-inf', now) / ARGV[7]) - open_claims - 1, MOST_WAKES)
wanted = math.max(wanted, shares and 1 or 0)
local wake = wanted > 0 and call('SET', base .. ':wakeup', '1', 'PX', HINT_MS, 'NX')
return { -1, wake and wanted or 0, at_depth, claimed, records, attempts, deaths }
