-- Check the invariants of events, lanes, claims or dead letters. Each object is checked as it is at one moment. Nothing is
-- written. The work of a call is bounded: a page of objects, and a number of steps along lanes.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  what is checked: events, lanes (a page of them), event, lane, dead_letter, dead_key, claim, second,
--          walk, queue
-- ARGV[2]  a page: its cursor; else the name of the object: a sequence, a digest, the id of a claim, a second; dead_key: a
--          member of DEAD_KEYS; queue: ''
-- ARGV[3]  most steps along lanes
-- ARGV[4]  walk: the event at which it goes on, '' for the head; a page: about how many objects
--
-- Returns  events: {cursor, events, violations}: three per event: its sequence, its second of acceptance, its links or ''
--          lanes: {cursor, lanes, violations}: two per lane: its digest, and 1 when it has more events than steps are left
--          walk: {next, is_anew, head, length, changes, sequences, violations}: next: the event at which the walk goes on, ''
--          at its end; is_anew 1: it began at the head; changes: how many events left or joined lanes in the middle so far
--          else: violations: three per violation: the object, the name of the invariant, and what does not hold
local steps_left = tonumber(ARGV[3])

local violations = {}
local function report(name, invariant, text)
  violations[#violations + 1] = name
  violations[#violations + 1] = invariant
  violations[#violations + 1] = text
end

-- The digests of a record's keys; nothing when it is malformed.
local function digests_of(record)
  local keys_end = #record >= KEY_COUNT and KEY_COUNT + byte(record, KEY_COUNT) * DIGEST_BYTES
  if not keys_end or #record < keys_end or not string.find(record, '^%d%d%d%d%d%d%d%d%d%d%d%d%d') then
    return
  end
  local digests = {}
  for at = KEY_COUNT + 1, keys_end, DIGEST_BYTES do
    digests[#digests + 1] = sub(record, at, at + DIGEST_BYTES - 1)
  end
  return digests
end

-- The sequence at a position of a value, and the position behind it; nothing when it is malformed.
local function sequence_at(value, at)
  local digits = byte(value, at)
  local sequence = digits and sub(value, at + 1, at + digits)
  if digits and #sequence == digits and string.find(sequence, '^%d+$') then
    return sequence, at + 1 + digits
  end
end

-- The head, the tail and the length of a lane, and by which of its keys the tail is in it; nothing when it is malformed.
local function read_lane(lane)
  local tail, at = sequence_at(lane, 2)
  if tail and at > #lane then
    return tail, tail, 1, byte(lane)
  end
  local head, length_at = nil, nil
  if tail then
    head, length_at = sequence_at(lane, at)
  end
  local length = head and tonumber(sub(lane, length_at))
  if length then
    return head, tail, length, byte(lane)
  end
end

-- In how many lanes an event waits, and its successors by the number of the key; nothing when the links are malformed.
local function read_links(links)
  local successors, at = {}, 2 + TIME_DIGITS
  if links and not (#links >= at - 1 and find(sub(links, 2, at - 1), '^%d+$')) then
    return
  end
  while links and at <= #links do
    local successor, behind = sequence_at(links, at + 1)
    if not successor then
      return
    end
    successors[byte(links, at)], at = successor, behind
  end
  return links and (byte(links) or 0) or 0, successors
end

local function number_of(digest, digests)
  for i, own in ipairs(digests) do
    if own == digest then
      return i - 1
    end
  end
end

local claims
local function owners_of(name)
  claims = claims or call('ZRANGE', CLAIMS, 0, -1)
  local owners = {}
  for _, claim in ipairs(claims) do
    if call('SISMEMBER', CLAIM .. claim, name) == 1 then
      owners[#owners + 1] = claim
    end
  end
  return owners
end

local function check_successors(name, digests, successors)
  for key, successor in pairs(successors) do
    local record = call('HGET', EVENT, successor)
    local others = record and digests_of(record) or {}
    if key >= #digests then
      report(name, 'successor', format('has the successor %s by its key %d, and %d keys', successor, key, #digests))
    elseif not record then
      report(name, 'successor', format('its successor %s has no record', successor))
    elseif not number_of(digests[key + 1], others) then
      report(name, 'successor', format('its successor %s does not have the key of the lane', successor))
    end
  end
end

-- Compare an event with the lanes of its keys. Return the heads of those in which it waits; nothing when that is unknown.
local function check_lanes(name, digests, waits, successors)
  local heads, is_known = {}, true
  for i, digest in ipairs(digests) do
    local lane = call('HGET', LANE, digest)
    local head, tail = nil, nil
    if lane then
      head, tail = read_lane(lane)
    end
    if not lane then
      is_known = false
      report(name, 'lane', format('its key %d has no lane', i - 1))
    elseif not head then
      is_known = false
    else
      if head ~= name then
        heads[#heads + 1] = head
      end
      if tail == name and successors[i - 1] then
        report(name, 'successor', format('the last of the lane of its key %d, but has a successor there', i - 1))
      elseif tail ~= name and not successors[i - 1] then
        report(name, 'successor', format('not the last of the lane of its key %d, but has no successor there', i - 1))
      end
    end
  end
  if is_known and waits ~= #heads then
    report(name, 'links', format(':links says that it waits in %d lanes; it is not the head of %d', waits, #heads))
  end
  return is_known and heads
end

local function check_state(name, waits, heads, owners, due, blocking)
  local states = {}
  if due then
    states[1] = 'in :ready'
  end
  for _, owner in ipairs(owners) do
    states[#states + 1] = 'owned by claim ' .. owner
  end
  if blocking then
    states[#states + 1] = 'in :claim:blocking'
  end
  if #states > 1 then
    report(name, 'state', table.concat(states, ' and '))
  elseif #states == 0 and waits == 0 then
    report(name, 'state', 'neither in :ready, nor claimed, nor blocked, nor a blocking dead letter')
  end
  if due and waits > 0 then
    report(name, 'ready', format('in :ready, but waits in %d lanes', waits))
  end
  if blocking and waits > 0 then
    report(name, 'blocking', format('a blocking dead letter that waits in %d lanes', waits))
  end
  for _, head in ipairs(#owners == 1 and heads or {}) do
    if call('SISMEMBER', CLAIM .. owners[1], head) == 0 then
      report(name, 'claimed', format('owned by claim %s, which does not own event %s before it', owners[1], head))
    end
  end
end

local function check_event(name)
  local record, due, owners = call('HGET', EVENT, name), call('ZSCORE', READY, name), owners_of(name)
  local blocking, links = call('SISMEMBER', BLOCKING, name) == 1, call('HGET', LINKS, name)
  if not record then
    local names = {}
    names[1] = due and READY or nil
    for _, owner in ipairs(owners) do
      names[#names + 1] = CLAIM .. owner
    end
    if blocking then
      names[#names + 1] = BLOCKING
    end
    for _, key in ipairs({ LINKS, COOLDOWN, ATTEMPTS, EXPIRED_CLAIMS }) do
      if call('HEXISTS', key, name) == 1 then
        names[#names + 1] = key
      end
    end
    if #names > 0 then
      for i, key in ipairs(names) do
        names[i] = sub(key, #base + 1)
      end
      report(name, 'record', 'no record in :event, but in ' .. table.concat(names, ', '))
    end
    return
  end
  local digests = digests_of(record)
  local waits, successors = read_links(links)
  if not digests or not tonumber(name) then
    return report(name, 'record', 'its record is malformed')
  elseif not waits then
    return report(name, 'links', 'its links are malformed')
  end
  if tonumber(name) > tonumber(call('GET', SEQ) or 0) then
    report(name, 'sequence', 'greater than :seq, the last sequence that was given')
  end
  check_successors(name, digests, successors)
  local heads = check_lanes(name, digests, waits, successors)
  check_state(name, waits, heads, owners, due, blocking)
end

local function check_hot(digest, length)
  local is_listed = call('ZSCORE', HOT, digest)
  if length >= HOT_LENGTH and not is_listed then
    report(digest, 'hot', format('%d events, but not in :hot', length))
  elseif length < HOT_LENGTH and is_listed then
    report(digest, 'hot', format('%d events, but in :hot', length))
  end
end

-- Go along a lane from an event on. Return the sequences, and the event at which the walk goes on, '' at its end.
local function walk(digest, at, tail, tail_key)
  local sequences = {}
  while true do
    local record = call('HGET', EVENT, at)
    local own_key = record and number_of(digest, digests_of(record) or {})
    if not own_key then
      report(digest, 'lane', format('leads to event %s, which %s', at, record and 'does not have its key' or 'has no record'))
      return sequences
    end
    sequences[#sequences + 1] = at
    local _, successors = read_links(call('HGET', LINKS, at))
    local successor = successors and successors[own_key]
    if at == tail then
      if successor then
        report(digest, 'lane', format('event %s behind its last event %s', successor, tail))
      elseif own_key ~= tail_key then
        report(digest, 'lane', format('key %d of its last event; it is key %d', tail_key, own_key))
      end
      return sequences, ''
    elseif not successor then
      report(digest, 'lane', format('ends at event %s; its last event is %s', at, tail))
      return sequences
    end
    at, steps_left = successor, steps_left - 1
    if steps_left <= 0 then
      return sequences, at
    end
  end
end

-- Return 1 when the lane has more events than steps are left.
local function check_lane(digest)
  local lane = call('HGET', LANE, digest)
  if not lane then
    return check_hot(digest, 0)
  end
  local head, tail, length, tail_key = read_lane(lane)
  if not head then
    return report(digest, 'lane', 'its value is malformed')
  end
  check_hot(digest, length)
  if length >= steps_left then
    return 1
  end
  local sequences, next = walk(digest, head, tail, tail_key)
  if next == '' and #sequences ~= length then
    report(digest, 'length', format('%d events; its stored length is %d', #sequences, length))
  elseif next and next ~= '' then
    return 1
  end
end

local function member_of(digest, name)
  return digest .. format('%0' .. SEQUENCE_DIGITS .. 'd', name)
end

-- Each dead letter is found by each of its keys.
local function check_keys(name)
  local record = tonumber(name) and call('HGET', DEAD, name)
  for key, digest in ipairs(record and digests_of(record) or {}) do
    if not call('ZSCORE', DEAD_KEYS, member_of(digest, name)) then
      report(name, 'dead_keys', format('not in :dead_keys by its key %d', key - 1))
    end
  end
end

local function check_dead_key(member)
  local digest, name = sub(member, 1, DIGEST_BYTES), format('%d', tonumber(sub(member, DIGEST_BYTES + 1)) or 0)
  local record = call('HGET', DEAD, name)
  local has_key = record and number_of(digest, digests_of(record) or {})
  if call('ZSCORE', DEAD_KEYS, member) and not (has_key and member == member_of(digest, name)) then
    report(member, 'dead_keys', format('in :dead_keys, but the dead letter %s %s', name, record and 'has another key' or 'does not exist'))
  end
end

local function check_dead_letter(name)
  local record, failure = call('HGET', DEAD, name), call('HGET', FAILURE, name)
  local index, blocks = call('ZSCORE', DEAD_INDEX, name), call('SISMEMBER', BLOCKING, name) == 1
  local event = call('HGET', EVENT, name)
  if record or failure or index then
    for key, found in pairs({ [DEAD] = record, [FAILURE] = failure, [DEAD_INDEX] = index }) do
      if not found then
        report(name, 'dead_letter', 'not in ' .. sub(key, #base + 1))
      end
    end
    if index and tonumber(index) ~= tonumber(name) then
      report(name, 'dead_letter', 'another sequence in :dead_index: ' .. index)
    end
  elseif blocks then
    report(name, 'dead_letter', 'in :claim:blocking, but not in :dead')
  end
  if record and not blocks and event then
    report(name, 'blocking', 'in :event, but not in :claim:blocking')
  elseif record and blocks and not event then
    report(name, 'blocking', 'in :claim:blocking, but not in :event')
  elseif record and blocks and record ~= event then
    report(name, 'blocking', 'its records in :dead and :event differ')
  end
  check_keys(name)
end

local function check_claim(id)
  local lease, owned = call('ZSCORE', CLAIMS, id), call('SCARD', CLAIM .. id)
  if lease and owned == 0 then
    report(id, 'claim', 'in :claims, but owns no event')
  elseif owned > 0 and not lease then
    report(id, 'claim', format('owns %d events, but has no lease in :claims', owned))
  end
end

local function check_second(second)
  local count, at = call('HGET', AGE, second), call('ZSCORE', AGES, second)
  if count and not at then
    report(second, 'ages', 'in :age, but not in :ages')
  elseif at and not count then
    report(second, 'ages', 'in :ages, but not in :age')
  elseif count and (tonumber(count) or 0) < 1 then
    report(second, 'ages', count .. ' events in :age')
  elseif at and tonumber(at) ~= tonumber(second) then
    report(second, 'ages', 'another second in :ages: ' .. at)
  end
end

local function check_queue()
  local layout, config = call('EXISTS', LAYOUT), call('EXISTS', CONFIG)
  if layout + config == 0 and call('EXISTS', SEQ, EVENT, DEAD, TOTAL, SECRET) == 0 then
    return -- it is new
  end
  if layout == 0 then
    report('', 'layout', ':layout does not exist')
  end
  if config == 0 then
    report('', 'config', ':config does not exist')
  end
  local function total(name)
    return tonumber(call('HGET', TOTAL, name) or 0)
  end
  local waiting = call('HLEN', EVENT) - call('SCARD', BLOCKING)
  local left = total('delivered') + total('unsent') + total('buried') + total('erased') + total('missing')
  if total('accepted') ~= left + waiting then
    local text = '%d accepted, but %d delivered, %d unsent, %d buried, %d erased, %d missing and %d waiting'
    local numbers = { total('delivered'), total('unsent'), total('buried'), total('erased'), total('missing'), waiting }
    report('', 'totals', format(text, total('accepted'), unpack(numbers)))
  end
end

local checks = {
  event = check_event,
  lane = check_lane,
  dead_letter = check_dead_letter,
  dead_key = check_dead_key,
  claim = check_claim,
  second = check_second,
  queue = check_queue,
}
if checks[ARGV[1]] then
  checks[ARGV[1]](ARGV[2])
  return violations
end

if ARGV[1] == 'walk' then
  local lane = call('HGET', LANE, ARGV[2])
  local head, tail, length, tail_key = nil, nil, nil, nil
  if lane then
    head, tail, length, tail_key = read_lane(lane)
  end
  if not head then
    return { '', 1, '0', 0, 0, {}, violations }
  end
  local record = ARGV[4] ~= '' and call('HGET', EVENT, ARGV[4])
  local sequences, next = walk(ARGV[2], record and ARGV[4] or head, tail, tail_key)
  local changes = (call('HGET', TOTAL, 'erased') or 0) + (call('HGET', TOTAL, 'reordered') or 0)
  return { next or '', record and 0 or 1, head, length, changes, sequences, violations }
end

local page, items = call('HSCAN', ARGV[1] == 'events' and EVENT or LANE, ARGV[2], 'COUNT', ARGV[4]), {}
for at = 1, #page[2], 2 do
  local name, value = page[2][at], page[2][at + 1]
  items[#items + 1] = name
  if ARGV[1] == 'events' then
    check_event(name)
    items[#items + 1] = sub(value, 1, 10)
    items[#items + 1] = call('HGET', LINKS, name) or ''
  else
    items[#items + 1] = check_lane(name) or 0
  end
end
return { page[1], items, violations }
