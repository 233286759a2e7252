-- Tell what a lane waits for: from its first unfinished event on to whatever holds that one up, and so forth.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  digest of the ordering key
-- ARGV[2]  most steps to follow
--
-- Returns  {} when no unfinished event has the key, else {length, tail sequence, step, …}; a step is
--          {sequence, digest, record, 'ready', ms since} | {…, 'delayed', ms left} | {…, 'claimed', ms of lease left, claim id}
--          | {…, 'blocking', 0}: a dead letter that holds up what is behind it | {…, 'waiting', lanes it waits in}; after
--          'waiting' the next step is the head of the first such lane.
-- Clock    Redis' own.
local base = KEYS[1]
local DIGEST, KEY_COUNT = 8, 14
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function lane(digest)
  local found = redis.call('HGET', base .. ':lane', digest)
  if found then
    local tail_end = 2 + string.byte(found, 2)
    local tail = string.sub(found, 3, tail_end)
    if #found == tail_end then
      return tail, tail, 1
    end
    local head_end = tail_end + 1 + string.byte(found, tail_end + 1)
    return string.sub(found, tail_end + 2, head_end), tail, string.sub(found, head_end + 1)
  end
end

local function holder(name)
  for _, claim in ipairs(redis.call('ZRANGE', base .. ':claims', 0, -1)) do
    if redis.call('SISMEMBER', base .. ':claim:' .. claim, name) == 1 then
      return claim
    end
  end
end

local function blocking_lane(name, record)
  for at = KEY_COUNT + 1, KEY_COUNT + string.byte(record, KEY_COUNT) * DIGEST, DIGEST do
    local digest = string.sub(record, at, at + DIGEST - 1)
    if lane(digest) ~= name then
      return digest
    end
  end
end

local digest = ARGV[1]
local head, tail, length = lane(digest)
if not head then
  return {}
end
local reply = { tonumber(length), tonumber(tail) }
for _ = 1, ARGV[2] do
  local record = redis.call('HGET', base .. ':event', head)
  local due, claim = redis.call('ZSCORE', base .. ':ready', head), holder(head)
  local step = { tonumber(head), digest, record }
  reply[#reply + 1] = step
  if claim then
    step[4], step[5], step[6] = 'claimed', redis.call('ZSCORE', base .. ':claims', claim) - now, claim
    return reply
  end
  if redis.call('SISMEMBER', base .. ':claim:blocking', head) == 1 then
    step[4], step[5] = 'blocking', 0
    return reply
  end
  if due then
    step[4], step[5] = due - now > 0 and 'delayed' or 'ready', math.abs(due - now)
    return reply
  end
  step[4], step[5] = 'waiting', string.byte(redis.call('HGET', base .. ':links', head))
  digest = blocking_lane(head, record)
  head = lane(digest)
end
return reply
