-- Cooldowns: an event with a cooldown is due that long after the events before it that share a key with it finished. The
-- events behind it are due that long after it finished. Events of one run share these waits. How long the cooldowns of one
-- key may last is bounded. Uses clock, generations and
-- cooling.

-- The cooldown of an event as COOLDOWN has it, ms; 0 without one. And its run, nil without one.
local function read_cooldown(stored)
  if not stored then
    return 0
  end
  local space = find(stored, ' ', 1, true)
  return tonumber(sub(stored, 1, (space or 0) - 1)), space and sub(stored, space + 1)
end

local function cooldown_text(cooldown, run)
  return run and cooldown .. ' ' .. run or cooldown
end

-- What COOLED has of a key: `lasted`: for how many ms its cooldowns lasted, and `current`: those of this generation;
-- `is_exempt`: they lasted as long as they may, so it makes no event wait, and `is_over`: so they did in this generation;
-- `finished`, `run`: of its last event with a cooldown; `delay`: for how long cooldowns had delayed that event, and
-- `is_late`: for as long as they may.
local OVER = '-'
local cooled_names, cooled = nil, {}
local function cooled_of(digest)
  if not cooled_names then
    cooled_names = generations(COOLED, COOLED_KEPT_MS)
    cooled_names = call('EXISTS', unpack(cooled_names)) > 0 and cooled_names or {}
  end
  local state = cooled[digest] or { lasted = 0, current = 0, delay = 0, finished = 0 }
  for at = cooled[digest] and 0 or #cooled_names, 1, -1 do
    local value = call('HGET', cooled_names[at], digest)
    if value then
      local lasted, delay, finished, run = string.match(value, '^(%S+) (%S+) (%d+) (.*)$')
      state.is_exempt, state.is_late = state.is_exempt or lasted == OVER, delay == OVER
      state.is_over = at == 1 and lasted == OVER
      state.lasted, state.current = state.lasted + (tonumber(lasted) or 0), at == 1 and tonumber(lasted) or 0
      state.delay, state.finished, state.run = tonumber(delay) or 0, tonumber(finished), run
    end
  end
  cooled[digest] = state
  return state
end

local function cooled_text(state)
  local delay = state.is_late and OVER or format('%d', state.delay)
  local lasted = state.is_over and OVER or format('%d', state.current)
  return table.concat({ lasted, delay, format('%d', state.finished), state.run or '' }, ' ')
end

local function is_exempt(digest)
  return cooled_of(digest).is_exempt
end

-- For how long cooldowns delayed an event that was accepted at this time, through any number of events before it; and
-- whether that is as long as they may. Events of one run delay each other by nothing.
local function delay_of(digests, accepted_ms, run, cooldown_ms)
  local delay, is_late = 0, false
  for _, digest in ipairs(digests) do
    local state = cooled_of(digest)
    if state.finished > accepted_ms then
      delay = math.max(delay, state.delay + (run and state.run == run and 0 or cooldown_ms))
      is_late = is_late or state.is_late
    end
  end
  return delay, is_late
end

-- The time at which an event with this key finished last; 0 when none did within the last cooldown. The texts are kept:
-- this is only asked before a script writes.
local finished_texts = {}
local function finished_at(digest, cooldown_ms)
  local shard, time = ':' .. byte(digest) % SHARDS, 0
  for _, generation in ipairs(generations(FINISHED_AT, cooldown_ms)) do
    local name = generation .. shard
    finished_texts[name] = finished_texts[name] or call('GET', name) or ''
    local text = finished_texts[name]
    local at = find(text, digest, 1, true)
    while at do
      if at % (DIGEST_BYTES + TIME_DIGITS) == 1 then
        time = math.max(time, tonumber(sub(text, at + DIGEST_BYTES, at + DIGEST_BYTES + TIME_DIGITS - 1)))
      end
      at = find(text, digest, at + 1, true)
    end
  end
  return time
end

-- When an event with these keys is due that is the head of all of its lanes. `own`: its own cooldown, 0 without one;
-- `cooling`: the generations of COOLING_UNTIL, nil when there are none; `cooldown_ms`: the queue's; `run`: that of the event,
-- nil without one; `accepted_ms`: when it was accepted, nil for now.
local function due_as_head(digests, own, cooling, cooldown_ms, run, accepted_ms)
  if own > 0 and accepted_ms and select(2, delay_of(digests, accepted_ms, run, cooldown_ms)) then
    return now
  end
  local due = math.max(now, cooling and cooling_until(cooling, digests, run) or 0)
  for _, digest in ipairs(own > 0 and digests or {}) do
    if not is_exempt(digest) then
      due = math.max(due, finished_at(digest, cooldown_ms) + own)
    end
  end
  return due
end
