-- Set aside events that have no record. They are the heads of their lanes; which lanes these are, only their successors
-- tell. Uses records, links, lanes, generations, cooldown and staged.

-- Make `successor` the head of a lane that begins with `name`, or with another event that was set aside before.
local function take_over(digest, name, successor)
  local lane = get(LANE, digest)
  if not lane then
    return false
  end
  local head, tail, length, tail_key = read_lane(lane)
  if head ~= name and (call('HEXISTS', EVENT, head) == 1 or get(LINKS, head)) then
    return false
  end
  put(LANE, digest, lane_text(successor, tail, math.max(length - 1, successor == tail and 1 or 2), tail_key))
  return length == HOT_LENGTH
end

-- Stage what setting these events aside changes. Return the successors that are freed, as score and member of READY, and
-- the digests of lanes that are no longer hot.
local function set_aside(names, cooldown_ms)
  local ready, cold, cooling = {}, {}, generations(COOLING_UNTIL, cooldown_ms)
  for _, name in ipairs(names) do
    local _, successors = read_links(get(LINKS, name))
    local behind, lanes_behind = {}, {}
    for _, successor in pairs(successors) do
      behind[#behind + 1] = not lanes_behind[successor] and successor or nil
      lanes_behind[successor] = (lanes_behind[successor] or 0) + 1
    end
    table.sort(behind, function(a, b)
      return tonumber(a) < tonumber(b)
    end)
    for _, successor in ipairs(behind) do
      local record = call('HGET', EVENT, successor)
      local digests = record and digests_of(record) or {}
      for _, digest in ipairs(digests) do
        cold[#cold + 1] = take_over(digest, name, successor) and digest or nil
      end
      local waits, further, until_text = read_links(get(LINKS, successor))
      if waits > 0 then
        waits = math.max(waits - lanes_behind[successor], 0)
        put(LINKS, successor, links_text(waits, further, until_text))
      end
      if waits == 0 then
        local own, run = read_cooldown(call('HGET', COOLDOWN, successor))
        local due = due_as_head(digests, own, cooling, cooldown_ms, run, record and tonumber(sub(record, 1, TIME_DIGITS)))
        ready[#ready + 1] = math.max(due, tonumber(until_text))
        ready[#ready + 1] = successor
      end
    end
    for _, key in ipairs({ LINKS, COOLDOWN, ATTEMPTS, EXPIRED_CLAIMS }) do
      put(key, name, false)
    end
  end
  return ready, cold
end
