-- Lanes whose last event has no record: nothing would ever free what is appended behind it, so these lanes begin anew. Uses
-- bulk.
local missing, is_missing, begun_anew = {}, {}, {} -- the events that were found, also by name; the digests of the lanes

-- The name of the last event of a lane.
local function tail_of(lane)
  return sub(lane, 3, 2 + byte(lane, 2))
end

-- Read the lanes of these digests: false for those that are empty, or begin anew.
local function read_lanes(digests)
  local lanes = read_all('HMGET', LANE, digests)
  for lane = 1, #missing > 0 and #digests or 0 do
    if lanes[lane] and is_missing[tail_of(lanes[lane])] then
      lanes[lane] = false
      begun_anew[#begun_anew + 1] = digests[lane]
    end
  end
  return lanes
end

-- Return those of the last events of lanes that nothing would ever free: without predecessors they are ready or claimed,
-- unless they have no record. `links_of`: the links of each, false without; `last`: the last sequence before this call.
local function without_record(tails, links_of, last)
  local heads, others, found = {}, {}, {}
  for i = 1, #tails do
    local links = links_of[i]
    if (not links or byte(links) == 0) and tonumber(tails[i]) <= last then
      heads[#heads + 1] = tails[i]
    end
  end
  for i, is_ready in ipairs(read_all('ZMSCORE', READY, heads)) do
    others[#others + 1] = not is_ready and heads[i] or nil
  end
  for i, record in ipairs(read_all('HMGET', EVENT, others)) do -- one command for all costs less than the records
    found[#found + 1] = not record and others[i] or nil
  end
  return found
end

-- Whether all of these last events have a record. Those that have none are `missing` from now on; see `without_record`.
local function are_sound(tails, links_of, last)
  local found = #tails > 0 and without_record(tails, links_of, last) or {}
  for i = 1, #found do
    missing[#missing + 1] = not is_missing[found[i]] and found[i] or nil
    is_missing[found[i]] = true
  end
  return #found == 0
end

-- Return how many of the missing events were not known to be before.
local function count_new()
  local count = #missing
  for _, is_known in ipairs(read_all('SMISMEMBER', MISSING, missing)) do
    count = count - is_known
  end
  return count
end

-- `new_count`: see `count_new`.
local function write_missing(new_count)
  if #missing > 0 then
    write_all('ZREM', HOT, begun_anew)
    write_all('SADD', MISSING, missing)
    call('EXPIRE', MISSING, MISSING_KEPT_S)
    call('HINCRBY', TOTAL, 'missing', new_count)
  end
end

local lost_tails = {
  missing = missing,
  begun_anew = begun_anew,
  tail_of = tail_of,
  read_lanes = read_lanes,
  are_sound = are_sound,
  count_new = count_new,
  write = write_missing,
}
