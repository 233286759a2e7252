-- Claim events that are due, then follow the chains: a successor is claimed too when all it waits for is in this claim.
-- Events of one depth may be sent together, since no two of them share a key. An event with a cooldown is claimed without
-- its successors: they have to wait, and a claim has no time for that. Only those of its run come along, at its own
-- depth: they need no order. An event that still waits for earlier ones ends a chain too. Not all that is due is taken, so
-- that other claims find something too: while one waits for Redis or the service, another computes.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  claim id: a new one, or that of a call whose reply was lost. Then its events return to their lanes
-- ARGV[2]  lease, ms
-- ARGV[3]  most events
-- ARGV[4]  most bytes of records (the first event is claimed whatever its size)
-- ARGV[5]  greatest depth (0: only events that are ready)
-- ARGV[6]  how long the caller polls when there is nothing to claim, ms: no other deliverer is requested meanwhile
-- ARGV[7]  ready events that one open claim is expected to take; it starts with twice as many at most
-- ARGV[8]  cooldown of the queue, ms
-- ARGV[9]  how long a due event may wait for more, ms. While other claims are open, due events are left for that long when
--          they are fewer than these claims and this one are expected to take, unless chains are long
-- ARGV[10] how many claims share what is due where chains are long
--
-- Returns  {due, wake, depths, sequences, records, attempts, expired claims, missing}. due: when nothing was claimed, ms
--          until there may be something to claim, -1 when there is no event; wake: how many more deliverers to request;
--          depths: how many events at each depth; missing: events that were set aside because they have no record. The
--          other four have one value per event, by depth. sequences are one text, with a space between two. attempts and
--          expired claims have a line for each, and are empty when no event has any
-- The more of an event's claims expired, the fewer events may share its next one: 50, 5, then it is claimed alone. So a
-- poison message is told from the events around it, and they are delivered. Threads of one process die together, so of the
-- events that are claimed alone only one is in a claim at a time.
-- Clock    Redis' own.
-- allow-oom
-- uses clock, newest, bulk, generations
local claim_id, cooldown_ms = ARGV[1], ARGV[8]
local most_events, most_bytes, greatest_depth = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local MAY_SHARE = { [0] = most_events, 50, 5 } -- by the number of expired claims
local ALONE = 3
local LONG, LEAST = 10, 5 -- a chain; the events that are shared

---- A call that is repeated, as its reply was lost ----

if call('EXISTS', CLAIM .. claim_id) == 1 then
  local names, ready = call('SMEMBERS', CLAIM .. claim_id), {}
  for i, links in ipairs(read_all('HMGET', LINKS, names)) do
    if not links or byte(links) == 0 then
      ready[#ready + 1], ready[#ready + 2] = now, names[i]
    end
  end
  call('ZREM', CLAIMS, claim_id)
  call('DEL', CLAIM .. claim_id)
  write_all('ZADD', READY, ready)
  return { 0, 0, {}, '', {}, {}, {}, {} }
end

---- Read and decide: what is due ----

local most_ready = math.min(most_events, 2 * ARGV[7])
local due = call('ZRANGEBYSCORE', READY, '-inf', now, 'LIMIT', 0, most_ready)
local open_claims, wait = call('ZCARD', CLAIMS), #due == 0 and -1 or 0
local is_long = call('HLEN', EVENT) > LONG * call('HLEN', LANE)
if #due == 0 or (open_claims > 0 and not is_long and #due < math.min(most_ready, ARGV[7] * (open_claims + 1))) then
  local first = call('ZRANGE', READY, 0, 0, 'WITHSCORES')[2]
  wait = first and first - now + (#due > 0 and ARGV[9] or 0) or -1
end
if #due == 0 or wait > 0 then
  call('DEL', WAKEUP)
  if ARGV[6] ~= '0' then
    call('SET', WAKEUP, '1', 'PX', ARGV[6])
  end
  return { wait, 0, {}, '', {}, {}, {}, {} }
end
local due_count = call('ZCOUNT', READY, '-inf', now)

-- Where chains are long, half of what is due is left to other deliverers: the events of a chain in one claim wait for one
-- response after the other.
local shares = is_long and #due > LEAST and #due < most_ready and open_claims < ARGV[10] - 1
for i = #due, shares and math.max(LEAST, math.ceil(#due / 2)) + 1 or #due + 1, -1 do
  due[i] = nil
end

---- Read and decide: which events to take ----

local cooling = generations(COOLING_UNTIL, cooldown_ms)
local exists = which_exist({ ATTEMPTS, EXPIRED_CLAIMS, COOLDOWN, cooling[1], cooling[2] })
local some_attempts, some_expired, some_cooldown = exists[ATTEMPTS], exists[EXPIRED_CLAIMS], exists[COOLDOWN]
local some_cooling = exists[cooling[1]] or exists[cooling[2]]

local function count(lines)
  return select(2, string.gsub(lines or '', '\n', ''))
end

-- A claim of an event that must be alone has no other; in any other claim, fewer claims of each event expired.
local function another_is_alone()
  for _, claim in ipairs(call('ZRANGE', CLAIMS, 0, -1)) do
    local name = call('SRANDMEMBER', CLAIM .. claim)
    if name and count(call('HGET', EXPIRED_CLAIMS, name)) >= ALONE then
      return true
    end
  end
  return false
end

local claimed, records, attempts, expired_claims, missing = {}, {}, {}, {}, {}
local bytes, taken_count, allowed = 0, 0, most_events
local function take(names)
  local claimed, records, bytes_before, count_before = claimed, records, bytes, taken_count -- the loop reads its own ones
  local found = call('HMGET', EVENT, unpack(names))
  local tried = some_attempts and call('HMGET', ATTEMPTS, unpack(names))
  local expired = some_expired and call('HMGET', EXPIRED_CLAIMS, unpack(names))
  local first = taken_count + 1
  for i = 1, #names do
    local record = found[i]
    if record then
      local bytes_then, count_then, is_passed_over = bytes_before + #record, count_before + 1, false
      if count_then > 1 and (bytes_then > most_bytes or count_then > allowed) then
        allowed = 0
        break
      end
      if expired then
        local expired_count = count(expired[i])
        local share = MAY_SHARE[expired_count] or 1
        is_passed_over = count_then > share or expired_count >= ALONE and another_is_alone()
        allowed = is_passed_over and allowed or math.min(share, allowed)
      end
      if not is_passed_over then
        bytes_before, count_before = bytes_then, count_then
        claimed[count_then] = names[i]
        records[count_then] = record
        if tried then
          attempts[count_then] = tried[i] or ''
        end
        if expired then
          expired_claims[count_then] = expired[i] or ''
        end
      end
    else
      missing[#missing + 1] = names[i]
    end
  end
  bytes, taken_count = bytes_before, count_before
  return { unpack(claimed, first, taken_count) }
end

local frontier = take(due)
local ready_taken, set_aside_count = #frontier, #missing

---- Read and decide: the chains behind them ----

local links_of, unmet = {}, {} -- unmet: in how many lanes a successor waits for events that are not in this claim
local function read_links_of(names)
  if #names > 0 then
    local found = call('HMGET', LINKS, unpack(names))
    for i = 1, #names do
      local links = found[i]
      if links then
        links_of[names[i]] = links
      end
    end
  end
end

-- Return the successors of these events that wait for no event outside this claim, nor for earlier ones that may come.
local function successors(names)
  local sub, byte, links_of, unmet = sub, byte, links_of, unmet
  local behind, unknown, met = {}, {}, {}
  for i = 1, #names do
    local links, at = links_of[names[i]], FIRST_SUCCESSOR
    local links_end = links and #links or 0
    while at < links_end do
      local next_at = at + 2 + byte(links, at + 1)
      local successor = sub(links, at + 2, next_at - 1)
      behind[#behind + 1] = successor
      if not unmet[successor] then
        unmet[successor] = 0
        unknown[#unknown + 1] = successor
      end
      at = next_at
    end
  end
  read_links_of(unknown)
  for i = 1, #unknown do
    local successor = unknown[i]
    local links = links_of[successor]
    unmet[successor] = links and byte(links) or math.huge
  end
  for i = 1, #behind do
    local successor = behind[i]
    local still_unmet = unmet[successor] - 1
    unmet[successor] = still_unmet
    if still_unmet == 0 and sub(links_of[successor], LINKS_UNTIL, FIRST_SUCCESSOR - 1) <= now_text then
      met[#met + 1] = successor
    end
  end
  return met
end

local function without_cooldown(names)
  if not some_cooldown or #names == 0 then
    return names
  end
  local free = {}
  for i, cooldown in ipairs(call('HMGET', COOLDOWN, unpack(names))) do
    if not cooldown then
      free[#free + 1] = names[i]
    end
  end
  return free
end

local function next_depth(names)
  local free = without_cooldown(successors(without_cooldown(names)))
  if #free == 0 or not some_cooling then
    return free
  end
  -- uses records, cooling
  local at_once = {}
  for i, record in ipairs(call('HMGET', EVENT, unpack(free))) do
    if record and cooling_until(cooling, digests_of(record)) <= now then
      at_once[#at_once + 1] = free[i]
    end
  end
  return at_once
end

local mates = {}
if some_cooldown and ready_taken > 0 then
  -- uses records, sequences, links, cooling, cooldown, claim/runs
  mates = take_runs(frontier)
end
local at_depth = { taken_count }
if greatest_depth > 0 and taken_count < allowed then
  read_links_of(frontier)
end
while #at_depth <= greatest_depth and taken_count < allowed and #frontier > 0 do
  frontier = next_depth(frontier)
  if #frontier > 0 then
    frontier = take(frontier)
    at_depth[#at_depth + 1] = #frontier
  end
end

-- A chain ends before an event that has no record. That one is set aside when its predecessors have finished.
for i = #missing, set_aside_count + 1, -1 do
  missing[i] = nil
end
local freed, cold, missing_count, write_staged = {}, {}, 0, nil
if #missing > 0 then
  -- uses records, sequences, links, lanes, cooling, cooldown, staged, set_aside
  freed, cold = set_aside(missing, cooldown_ms)
  for _, is_known in ipairs(read_all('SMISMEMBER', MISSING, missing)) do
    missing_count = missing_count + 1 - is_known
  end
  write_staged = flush
end

local wanted = math.ceil((due_count - ready_taken - #missing + #freed / 2) / ARGV[7]) - open_claims - 1
wanted = math.max(math.min(wanted, MOST_WAKEUPS), shares and 1 or 0)

---- Write. Removing comes first, see settle.lua ----

if #missing > 0 then
  write_all('ZREM', READY, missing)
  write_staged()
  write_all('ZADD', READY, freed)
  write_all('ZREM', HOT, cold)
  write_all('SADD', MISSING, missing)
  call('EXPIRE', MISSING, MISSING_KEPT_S)
  call('HINCRBY', TOTAL, 'missing', missing_count)
end
if taken_count == 0 then
  return { #missing > 0 and 0 or -1, 0, {}, '', {}, {}, {}, missing }
end
if some_expired or #missing > 0 then
  call('ZREM', READY, unpack(claimed, 1, ready_taken))
else -- none was passed over: these are the first
  call('ZREMRANGEBYRANK', READY, 0, ready_taken - 1)
end
-- An event that waits in a lane and has a rank would let earlier ones go before it.
if #mates > 0 then
  -- uses rank
  for _, name in ipairs(rank_keys(now - RANK_GENERATION_MS)) do
    write_all('HDEL', name, mates)
  end
end
call('SADD', CLAIM .. claim_id, unpack(claimed))
call('SET', NEWEST, newest_now)
call('ZADD', CLAIMS, now + ARGV[2], claim_id)

---- Wake ----

local wake = wanted > 0 and call('SET', WAKEUP, '1', 'PX', WAKEUP_MS, 'NX')
return { -1, wake and wanted or 0, at_depth, table.concat(claimed, ' '), records, attempts, expired_claims, missing }
