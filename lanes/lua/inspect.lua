-- Return what a lane waits for: its first unfinished event, then the first event of a lane in which that one waits, and so
-- on.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  digest of the ordering key
-- ARGV[2]  most steps to follow
--
-- Returns  {} when no unfinished event has the key, else {length, tail sequence, step, …}; a step is
--          {sequence, digest, record, 'ready', ms since} | {…, 'delayed', ms left} | {…, 'reordering', ms left}: it waits for
--          earlier events | {…, 'claimed', ms of lease left, claim id} | {…, 'blocking', 0}: a dead letter whose successors
--          wait | {sequence, digest, '', 'missing', 0}: there is no record | {…, 'waiting', lanes in which it waits}; after
--          'waiting' the next step is the head of the first such lane
-- Clock    Redis' own.
-- uses clock, bulk, records, sequences, links, lanes, rank
local function claim_of(name)
  for _, claim in ipairs(call('ZRANGE', CLAIMS, 0, -1)) do
    if call('SISMEMBER', CLAIM .. claim, name) == 1 then
      return claim
    end
  end
end

-- The first lane in which an event is not the head, and that head.
local function lane_before(name, record)
  for _, digest in ipairs(digests_of(record)) do
    local lane = call('HGET', LANE, digest)
    local head = lane and read_lane(lane)
    if head and head ~= name then
      return digest, head
    end
  end
end

-- Until when an event waits for earlier ones, ms; 0 without a rank.
local function waits_until(name)
  for _, key in ipairs(rank_keys(now)) do
    local rank = call('HGET', key, name)
    if rank then
      return tonumber(sub(rank, CLIENT_END + 1, UNTIL_END))
    end
  end
  return 0
end

local digest, lane = ARGV[1], call('HGET', LANE, ARGV[1])
if not lane then
  return {}
end
local head, tail, length = read_lane(lane)
local reply = { length, tonumber(tail) }
for _ = 1, ARGV[2] do
  local record = call('HGET', EVENT, head)
  local due, claim = call('ZSCORE', READY, head), claim_of(head)
  local step = { tonumber(head), digest, record or '' }
  reply[#reply + 1] = step
  if not record then
    step[4], step[5] = 'missing', 0
    return reply
  end
  if claim then
    step[4], step[5], step[6] = 'claimed', call('ZSCORE', CLAIMS, claim) - now, claim
    return reply
  end
  if call('SISMEMBER', BLOCKING, head) == 1 then
    step[4], step[5] = 'blocking', 0
    return reply
  end
  if due then
    local state = waits_until(head) >= tonumber(due) and 'reordering' or 'delayed'
    step[4], step[5] = due - now > 0 and state or 'ready', math.abs(due - now)
    return reply
  end
  step[4], step[5] = 'waiting', (read_links(call('HGET', LINKS, head)))
  digest, head = lane_before(head, record)
  if not head then
    return reply
  end
end
return reply
