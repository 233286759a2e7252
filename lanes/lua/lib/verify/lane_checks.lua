-- What is checked of a lane: it leads from its head to its tail, has the length that is stored, and is in HOT when it is
-- long. Uses verify/violations and verify/checked_values.
local steps_left = tonumber(ARGV[3]) -- along lanes, in this call

-- A lane is in HOT when it has HOT_LENGTH events. `length`: 0 for an empty lane.
local function check_hot(digest, length)
  local is_listed = call('ZSCORE', HOT, digest)
  if length >= HOT_LENGTH and not is_listed then
    report(digest, 'hot', format('%d events, but not in :hot', length))
  elseif length < HOT_LENGTH and is_listed then
    report(digest, 'hot', format('%d events, but in :hot', length))
  end
end

-- Go along a lane from the event `at` on. `tail`: the last event as the lane stores it; `tail_key`: by which of its keys it
-- is in the lane. Return the sequences, and the event at which the walk goes on, '' at its end, nil after a violation.
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

-- Check all of a lane. Return 1 when it has more events than steps are left.
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
