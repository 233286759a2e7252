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
-- uses verify/violations, verify/checked_values, verify/event_checks, verify/lane_checks, verify/dead_letter_checks

-- A claim has a lease and owns events, or neither.
local function check_claim(id)
  local lease, owned = call('ZSCORE', CLAIMS, id), call('SCARD', CLAIM .. id)
  if lease and owned == 0 then
    report(id, 'claim', 'in :claims, but owns no event')
  elseif owned > 0 and not lease then
    report(id, 'claim', format('owns %d events, but has no lease in :claims', owned))
  end
end

-- A second of acceptance is in AGE and AGES, or in neither.
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

-- The queue has a layout and a configuration, and its totals add up.
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
