-- Erase events by key or by sequence, whatever their state, a bounded part of them a call. Each lane then links the
-- predecessor of an event to its successor. A claimed event may be in a request at this moment. So its body is removed and
-- its position stays until the claim ends: no later event overtakes it. It is delivered without being sent. The same is
-- done with an event behind a missing record, which does not say where it is linked. A lane is linked forwards only. The
-- search for a predecessor deep in a lane takes several calls, each of which goes on where the one before stopped.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  most events to erase in this call
-- ARGV[2]  most steps along lanes in this call
-- ARGV[3]  cooldown of the queue, ms
-- ARGV[4]  only events before this sequence are erased; '' for all
-- ARGV[5]  number of digests of keys whose events are erased, then these
-- ARGV[…]  number of events that are not erased, then their sequences
-- ARGV[…]  number of events whose fate is known, then for each its sequence and the name of its fate, see fates.lua: the
--          others are found, and not erased by this call
-- ARGV[…]  number of events that are erased whatever their keys, then their sequences
-- ARGV[…]  two per lane in which the call before was searching: its digest, and the last sequence that it passed there
--
-- Returns  {more, searches, claimed, sequence, how, record, …}: more: 1 when this call came to its bound; searches: two per
--          lane, for the next call; claimed: events without a body that claims own; three per event: 'removed',
--          'dead_letter' (one that blocked), 'emptied' or 'found', and the record as it was
-- Clock    Redis' own.
-- allow-oom
-- uses clock, bulk, generations, records, sequences, links, lanes, cooling, cooldown, rank, staged
-- uses kept_ranks, insert, dead_letters, fates, dead_letter_fates
local events_left, steps_left, cooldown_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local before_sequence = tonumber(ARGV[4]) or math.huge
local last_digest = 5 + ARGV[5]
local last_spared, is_spared = last_digest + 1 + ARGV[last_digest + 1], {}
for at = last_digest + 2, last_spared do
  is_spared[ARGV[at]] = true
end
local last_fate, fate_of = last_spared + 1 + 2 * ARGV[last_spared + 1], {}
for at = last_spared + 2, last_fate, 2 do
  fate_of[ARGV[at]] = ARGV[at + 1]
end
local last_named = last_fate + 1 + ARGV[last_fate + 1]
local reached = {} -- by digest of a lane: the last event that was passed there
for at = last_named + 1, #ARGV, 2 do
  reached[ARGV[at]] = ARGV[at + 1]
end

---- Read and decide. Changes are staged ----

local blocking_records, some_found = {}, false
local ready, seconds, blocking, cold, erased_count = {}, {}, {}, {}, 0 -- ready: by event its due time, false: not ready

-- The next event of a lane; nil behind the last one, and where the event has no record.
local function successor(name, digest)
  local _, successors = read_links(get(LINKS, name))
  local record = next(successors) and get(EVENT, name)
  return record and successors[key_number(record, digest)]
end

-- The events that may come next in a lane: where an event has no record, each of its successors.
local function next_in(name, digest)
  if get(EVENT, name) then
    return { successor(name, digest) }
  end
  local _, successors = read_links(get(LINKS, name))
  local found = {}
  for _, candidate in pairs(successors) do
    local record = get(EVENT, candidate)
    if not record or key_number(record, digest) then
      found[#found + 1] = candidate
    end
  end
  return found
end

local claims = call('ZRANGE', CLAIMS, 0, -1)
local function is_claimed(name)
  for _, claim in ipairs(claims) do
    if call('SISMEMBER', CLAIM .. claim, name) == 1 then
      return true
    end
  end
  return false
end

-- The event at which the search for a predecessor begins. Most lanes ascend: then an earlier event that was passed before
-- is in front of this one. Otherwise the search comes to the end of the lane, and begins again at its head.
local function start_of_search(digest, name)
  local passed = reached[digest]
  if passed and tonumber(passed) < tonumber(name) and get(EVENT, passed) then
    return passed
  end
  return (read_lane(get(LANE, digest)))
end

-- The predecessor of an event in each of its lanes, false where it is the head. Instead of all that: nil when it takes too
-- many steps; false when a record on the way is missing. A dead letter that blocks is the head of all of its lanes.
local function predecessors(name, digests)
  local found = {}
  for _, digest in ipairs(digests) do
    if not get(LANE, digest) then
      return false
    end
    local at, before = start_of_search(digest, name), false
    local is_from_head = at == read_lane(get(LANE, digest))
    while at ~= name do
      if not at and is_from_head then
        return false
      elseif not at then
        at, before, is_from_head = read_lane(get(LANE, digest)), false, true
      else
        steps_left = steps_left - 1
        reached[digest] = at
        if steps_left <= 0 then
          return nil
        end
        at, before = successor(at, digest), at
      end
    end
    found[digest] = before
  end
  return found
end

local cooling, ranks = generations(COOLING_UNTIL, cooldown_ms), no_ranks(rank_keys(now))
local function free(name)
  local waits, successors, until_text = read_links(get(LINKS, name))
  put(LINKS, name, links_text(waits - 1, successors, until_text))
  if waits > 1 then
    return
  end
  local record, own, run = get(EVENT, name), read_cooldown(get(COOLDOWN, name))
  local accepted_ms = record and tonumber(sub(record, 1, TIME_DIGITS))
  local due = due_as_head(record and digests_of(record) or {}, own, cooling, cooldown_ms, run, accepted_ms)
  ready[name] = math.max(due, tonumber(until_text))
end

-- Take an event from a lane.
local function unlink(name, digest, before, next_name)
  local head, tail, length, tail_key = read_lane(get(LANE, digest))
  if length == HOT_LENGTH then
    cold[#cold + 1] = digest
  end
  if not before and not next_name then
    put(LANE, digest, false)
    return
  end
  if before then
    local waits, successors, until_text = read_links(get(LINKS, before))
    local own_key = key_number(get(EVENT, before), digest)
    successors[own_key] = next_name
    put(LINKS, before, links_text(waits, successors, until_text))
    if not next_name then
      tail, tail_key = before, own_key
    elseif stored_rank(ranks, next_name) and get(EVENT, next_name) then
      put_predecessor(ranks, next_name, key_number(get(EVENT, next_name), digest), before)
    end
  else
    head = next_name
    free(next_name)
  end
  put(LANE, digest, lane_text(head, tail, length - 1, tail_key))
end

local function remove(name, record, digests, before)
  local _, successors = read_links(get(LINKS, name))
  for i, digest in ipairs(digests) do
    unlink(name, digest, before[digest], successors[i - 1])
  end
  ready[name] = false
  for _, key in ipairs({ EVENT, LINKS, COOLDOWN, ATTEMPTS, EXPIRED_CLAIMS, ERASED }) do
    put(key, name, false)
  end
  local second = sub(record, 1, 10)
  seconds[second] = (seconds[second] or 0) + 1
end

local reply = { 0, {}, 0 }
local function report(name, how, record)
  events_left = events_left - 1
  reply[#reply + 1] = name
  reply[#reply + 1] = how
  reply[#reply + 1] = record
end

local function empty(name, record, keys_end)
  if #record > keys_end then
    put(EVENT, name, sub(record, 1, keys_end))
    put(ATTEMPTS, name, false)
    put(ERASED, name, fate_of[name])
    report(name, 'emptied', record)
  end
end

-- Erase an event; false when it takes more steps than are left.
local function erase(name)
  local record = get(EVENT, name)
  if not record then
    return true -- a claim sets it aside
  end
  local digests, keys_end = digests_of(record)
  local blocks = call('SISMEMBER', BLOCKING, name) == 1
  if not (fate_of[name] or #record == keys_end) then
    some_found = true
    report(name, 'found', record)
    return true
  end
  if is_claimed(name) then
    reply[3] = reply[3] + 1
    empty(name, record, keys_end)
    return true
  end
  local before = predecessors(name, digests)
  if not before then
    if before == false then
      empty(name, record, keys_end)
    end
    return before == false
  end
  if blocks then
    blocking[#blocking + 1], blocking_records[#blocking + 1] = name, record
  else
    erased_count = erased_count + 1
    count_fate(sub(record, 1, 10), fate_of[name] or get(ERASED, name) or ERASED_FATE, 1)
    count_open(sub(record, 1, 10), -1, -name)
  end
  remove(name, record, digests, before)
  report(name, blocks and 'dead_letter' or 'removed', record)
  return true
end

-- An event that was accepted later may be before one that was accepted earlier, but not before many of them.
local MOST_AHEAD = 200
for i = 6, last_digest do
  local lane, is_visited, ahead = get(LANE, ARGV[i]), {}, 0
  local pending = lane and { (read_lane(lane)) } or {}
  while reply[1] == 0 and #pending > 0 do
    local name = table.remove(pending)
    steps_left = steps_left - 1
    local behind = next_in(name, ARGV[i])
    ahead = tonumber(name) >= before_sequence and ahead + 1 or 0
    if ahead > MOST_AHEAD or is_visited[name] then
      behind = {}
    elseif ahead == 0 and not is_spared[name] and (events_left <= 0 or steps_left <= 0 or not erase(name)) then
      reply[1] = 1
    end
    is_visited[name] = true
    for _, next_name in ipairs(behind) do
      pending[#pending + 1] = next_name
    end
  end
end
for at = last_fate + 2, last_named do
  if reply[1] == 1 or events_left <= 0 or steps_left <= 0 or not erase(ARGV[at]) then
    reply[1] = 1
  end
end
reply[1] = some_found and 1 or reply[1]
count_dead_letters(blocking, blocking_records, 'forgotten')
if reply[1] == 1 then
  for digest, name in pairs(reached) do
    table.insert(reply[2], digest)
    table.insert(reply[2], name)
  end
end

---- Write. Removing comes first, see settle.lua ----

write_all('SREM', BLOCKING, blocking)
local now_ready, not_ready = {}, {}
for name, due in pairs(ready) do
  if due then
    now_ready[#now_ready + 1], now_ready[#now_ready + 2] = due, name
  else
    not_ready[#not_ready + 1] = name
  end
end
write_all('ZREM', READY, not_ready)
flush()
write_all('ZADD', READY, now_ready)
write_all('ZREM', HOT, cold)
dead_letters.remove(blocking, blocking_records)
write_fates()
for second, count in pairs(seconds) do
  if call('HINCRBY', AGE, second, -count) == 0 then
    call('HDEL', AGE, second)
    call('ZREM', AGES, second)
  end
end
if erased_count > 0 then
  call('HINCRBY', TOTAL, 'erased', erased_count)
end
return reply
