-- Cooldowns: an event with a cooldown is due that long after the events before it that share a key with it finished, and
-- the events behind it are due that long after it finished. Events of one run share these waits. How long the cooldowns of
-- one key may last is bounded. Uses clock and generations.

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

-- The time until which the cooldowns of finished events make these keys wait; 0 without any. `names`: the generations of
-- COOLING_UNTIL; `run`: that of the event that waits, nil without one.
local function cooling_until(names, digests, run)
  local time = 0
  for _, name in ipairs(#digests > 0 and names or {}) do
    for _, found in ipairs(call('HMGET', name, unpack(digests))) do
      if found and not (run and sub(found, TIME_DIGITS + 1) == run) then
        time = math.max(time, tonumber(sub(found, 1, TIME_DIGITS)))
      end
    end
  end
  return time
end

-- Whether the cooldowns of a key lasted as long as they may: then it makes no event wait.
local EXEMPT = '-'
local cooled_names, exempt = nil, {}
local function is_exempt(digest)
  if not cooled_names then
    cooled_names = generations(COOLED, COOLED_KEPT_MS)
    cooled_names = call('EXISTS', unpack(cooled_names)) > 0 and cooled_names or {}
  end
  for _, name in ipairs(exempt[digest] == nil and cooled_names or {}) do
    exempt[digest] = exempt[digest] or call('HGET', name, digest) == EXEMPT
  end
  return exempt[digest] or false
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
-- nil without one.
local function due_as_head(digests, own, cooling, cooldown_ms, run)
  local due = math.max(now, cooling and cooling_until(cooling, digests, run) or 0)
  for _, digest in ipairs(own > 0 and digests or {}) do
    if not is_exempt(digest) then
      due = math.max(due, finished_at(digest, cooldown_ms) + own)
    end
  end
  return due
end
