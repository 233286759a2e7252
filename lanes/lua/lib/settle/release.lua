-- Events leave the claim unfinished: released, or as blocking dead letters. All that follows one of them in the claim
-- leaves it too, so that no event behind it stays claimed. Uses clock, records, links,
-- cooldown, settle/cooldowns and settle/finish.

-- The links of an event as finishing leaves them.
local function links_after(finish, name)
  local waits, successors = read_links(call('HGET', LINKS, name))
  return waits - (finish.passed[name] or 0), successors
end

-- What leaves a claim, decided but not written. `owned`: the key of the claim; `some_leave`: whether any event may.
local function begin_leaving(finish, owned, some_leave)
  local has_finished = {}
  for _, name in ipairs(some_leave and finish.names or {}) do
    has_finished[name] = true
  end
  return {
    owned = owned,
    finish = finish,
    has_finished = has_finished,
    has_left = {}, -- those below
    names = {},
    ready = {}, -- score and member
    cooldowns = {}, -- field and value
  }
end

-- Whether the claim owns the event after what was decided so far.
local function is_owned(leaving, name)
  return not (leaving.has_finished[name] or leaving.has_left[name]) and call('SISMEMBER', leaving.owned, name) == 1
end

local function leave(leaving, name)
  local behind = { name }
  while #behind > 0 do
    local next_name = table.remove(behind)
    if is_owned(leaving, next_name) then
      leaving.has_left[next_name] = true
      leaving.names[#leaving.names + 1] = next_name
    end
    local _, successors = links_after(leaving.finish, next_name)
    for _, successor in pairs(successors) do
      if is_owned(leaving, successor) then
        behind[#behind + 1] = successor
      end
    end
  end
end

-- Release an event that the claim owned. `delay`: ms; `cooldown`: the cooldown that it has from now on, ms; 0: unchanged.
local function release(leaving, name, delay, cooldown, cooldown_ms)
  leave(leaving, name)
  if cooldown > 0 then
    leaving.cooldowns[#leaving.cooldowns + 1] = name
    leaving.cooldowns[#leaving.cooldowns + 1] = cooldown
  end
  if links_after(leaving.finish, name) == 0 then
    local record = cooldown > 0 and call('HGET', EVENT, name)
    local digests = record and digests_of(record) or {}
    local accepted_ms = record and tonumber(sub(record, 1, TIME_DIGITS)) or now
    local is_late = select(2, delay_of(digests, accepted_ms, nil, cooldown_ms))
    local due = math.max(now + delay, due_as_head(digests, cooldown, nil, cooldown_ms, nil, accepted_ms))
    for _, digest in ipairs(digests) do
      local counts = finishes_now(leaving.finish, digest) and not (is_exempt(digest) or is_late)
      due = counts and math.max(due, now + cooldown) or due
    end
    leaving.ready[#leaving.ready + 1] = due
    leaving.ready[#leaving.ready + 1] = name
  end
end
