-- What is checked of an event: its links and its lanes agree, and it is in one state. Uses verify/violations and
-- verify/checked_values.
local claim_ids -- the ids of all open claims; nil before they are read

-- Return the ids of the open claims that own an event.
local function owners_of(name)
  claim_ids = claim_ids or call('ZRANGE', CLAIMS, 0, -1)
  local owners = {}
  for _, claim in ipairs(claim_ids) do
    if call('SISMEMBER', CLAIM .. claim, name) == 1 then
      owners[#owners + 1] = claim
    end
  end
  return owners
end

-- Each successor has the key by which it is the successor. `digests`: of the event; `successors`: by the number of its key.
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

-- Compare an event with the lanes of its keys. `waits`: the number of lanes in which it waits, by its links. Return the heads
-- of those in which it waits; nothing when that is unknown.
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

-- An event is in one state: ready, claimed, blocked, or a blocking dead letter. `heads`: those of the lanes in which it
-- waits, false when unknown; `owners`: the claims that own it; `due`: its score in READY, false without; `blocking`: whether
-- it is in BLOCKING.
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

-- Check all of an event.
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
  elseif links and waits == 0 and not next(successors) then
    report(name, 'links', 'in :links, but waits in no lane and has no successor')
  end
  if tonumber(name) > tonumber(call('GET', SEQ) or 0) then
    report(name, 'sequence', 'greater than :seq, the last sequence that was given')
  end
  check_successors(name, digests, successors)
  local heads = check_lanes(name, digests, waits, successors)
  check_state(name, waits, heads, owners, due, blocking)
end
