-- Put an event before events that happened later and still wait. Each lane is sorted by rank: an event that may not be
-- overtaken any more gives its rank to those that come behind it, so no event waits for one that waits for it. Uses clock,
-- records, sequences, links, lanes, kept_ranks and staged.
local MOST_STEPS, CLOSE_MS = 200, 250

-- `ranks`: see kept_ranks.lua; `ready`: name → due time, false: not ready.
local function stored_rank(ranks, name)
  if ranks.stored[name] == nil then
    read_ranks(ranks, { name })
  end
  return ranks.stored[name]
end

-- The predecessors of an event as they are stored behind its rank, '' where it has none.
local function read_predecessors(stored)
  local found, at = {}, UNTIL_END + 1
  while at <= #stored do
    found[#found + 1], at = sequence_at(stored, at)
  end
  return found
end

-- The predecessor of an event in a lane: false for the head, nil when it cannot be told.
local function predecessor(ranks, name, digest)
  if read_lane(get(LANE, digest)) == name then
    return false
  end
  local stored, record = stored_rank(ranks, name), get(EVENT, name)
  local before = stored and record and read_predecessors(stored)[key_number(record, digest) + 1]
  local record_before = before and get(EVENT, before)
  local own_key = record_before and key_number(record_before, digest)
  local _, successors = read_links(own_key and get(LINKS, before))
  return own_key and successors[own_key] == name and before or nil
end

local function due_of(ready, name)
  if ready[name] == nil then
    return tonumber(call('ZSCORE', READY, name) or nil)
  end
  return ready[name]
end

-- Whether no claim can own the event: it waits for earlier ones, or for its cooldown.
local function may_be_overtaken(stored, ready, name)
  local waits, due = read_links(get(LINKS, name)), due_of(ready, name)
  if tonumber(sub(stored, CLIENT_END + 1, UNTIL_END)) > now then
    return waits > 0 or due
  end
  return sub(stored, MARK, MARK) == 'c' and (waits > 0 or due and due > now)
end

-- Where an event belongs in a lane: the event that it goes before, nil at the end, and the greatest rank of those that stay
-- before it. Times of two clients that are closer than CLOSE_MS say nothing: there the order of acceptance counts, unless
-- the event goes before one further ahead.
local function position(ranks, ready, digest, event)
  local lane, after, greatest = get(LANE, digest), nil, ''
  if not lane then
    return nil, ''
  end
  local _, at = read_lane(lane)
  while at do
    local stored, record = stored_rank(ranks, at), get(EVENT, at)
    local other = stored and record and sub(stored, 1, RANK_DIGITS) or rank_at_most(record)
    ranks.steps = ranks.steps + 1
    local before = stored and other > event.rank and predecessor(ranks, at, digest)
    if not stored or other <= event.rank or before == nil or ranks.steps > MOST_STEPS then
      return after, other > greatest and other or greatest
    elseif not may_be_overtaken(stored, ready, at) then
      return after, other > greatest and other or greatest
    end
    local difference_ms = sub(other, 1, TIME_DIGITS) - sub(event.rank, 1, TIME_DIGITS)
    if sub(stored, MARK + 1, CLIENT_END) == event.client or difference_ms >= CLOSE_MS then
      after, greatest = at, ''
    elseif greatest == '' then
      greatest = other
    end
    at = before
  end
  return after, greatest
end

-- Write which event is before `name` in the lane of one of its keys.
local function put_predecessor(ranks, name, key, before)
  local stored, predecessors = ranks.stored[name], {}
  for i, sequence in ipairs(read_predecessors(stored)) do
    predecessors[i] = sequence_text(i == key + 1 and before or sequence)
  end
  ranks.stored[name] = sub(stored, 1, UNTIL_END) .. table.concat(predecessors)
  put(ranks.key_of[name], name, ranks.stored[name])
end

-- Link an event into a lane before `after`, or at the end. Return its predecessor there, '' without any, and its successor.
local function link(ranks, ready, event, key, after)
  local name, digest = event.name, event.digests[key + 1]
  local lane = get(LANE, digest)
  if not lane then
    put(LANE, digest, lane_text(name, name, 1, key))
    return '', nil, 1
  end
  local head, tail, length, tail_key = read_lane(lane)
  if not after then
    local waits, successors, until_text = read_links(get(LINKS, tail))
    successors[tail_key] = name
    put(LINKS, tail, links_text(waits, successors, until_text))
    put(LANE, digest, lane_text(head, name, length + 1, key))
    return tail, nil, length + 1
  end
  local before = predecessor(ranks, after, digest)
  if before then
    local own_key = key_number(get(EVENT, before), digest)
    local waits, successors, until_text = read_links(get(LINKS, before))
    successors[own_key] = name
    put(LINKS, before, links_text(waits, successors, until_text))
  else
    local waits, successors = read_links(get(LINKS, after))
    put(LINKS, after, links_text(waits + 1, successors, sub(ranks.stored[after], CLIENT_END + 1, UNTIL_END)))
    if due_of(ready, after) then
      ready[after] = false
    end
    head = name
  end
  put_predecessor(ranks, after, key_number(get(EVENT, after), digest), name)
  put(LANE, digest, lane_text(head, tail, length + 1, tail_key))
  return before or '', after, length + 1
end

-- Insert an event: {name, record, digests, client, rank, mark, until_ms, kept_until_ms}. Return whether it went before
-- another one, the number of lanes in which it waits, and the lengths of its lanes. It waits no longer than an event that it
-- goes before.
local function insert(ranks, ready, event)
  local after_of, lengths, is_settled = {}, {}, false
  while not is_settled do -- a greater rank in one lane changes the positions in the others
    local raised = nil -- the least of these: a lane with a forgotten rank may not be sorted
    is_settled, ranks.steps = true, 0
    for key, digest in ipairs(event.digests) do
      local after, greatest = position(ranks, ready, digest, event)
      after_of[key] = after or false
      if greatest > event.rank and not (raised and raised <= greatest) then
        raised, is_settled = greatest, false
      end
    end
    event.rank = raised or event.rank
  end
  put(EVENT, event.name, event.record)
  local waits, own_successors, predecessors, went_before = 0, {}, {}, false
  for key = 0, #event.digests - 1 do
    local before, after, length = link(ranks, ready, event, key, after_of[key + 1])
    predecessors[key + 1], lengths[key + 1] = sequence_text(before), length
    waits, own_successors[key] = waits + (before ~= '' and 1 or 0), after
    local until_ms = after and tonumber(sub(ranks.stored[after], CLIENT_END + 1, UNTIL_END))
    if until_ms then
      went_before = true
      event.until_ms = until_ms > now and math.min(event.until_ms, until_ms) or event.until_ms
    end
  end
  local until_text = format('%d', event.until_ms)
  local links = links_text(waits, own_successors, until_text)
  if links then
    put(LINKS, event.name, links)
  end
  local stored = event.rank .. event.mark .. event.client .. until_text
  ranks.stored[event.name] = stored .. table.concat(predecessors)
  if event.until_ms > now or event.mark == 'c' then
    ranks.key_of[event.name] = values_until(ranks, event.kept_until_ms).key
    put(ranks.key_of[event.name], event.name, ranks.stored[event.name])
  end
  return went_before, waits, lengths
end
