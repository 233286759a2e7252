-- Cooldowns: an event with a cooldown is due that long after the events before it that share a key with it finished, and
-- the events behind it are due that long after it finished. Uses clock and generations.

-- The time until which the cooldowns of finished events make these keys wait; 0 without any. `names`: the generations of
-- COOLING_UNTIL.
local function cooling_until(names, digests)
  local time = 0
  for _, name in ipairs(#digests > 0 and names or {}) do
    for _, found in ipairs(call('HMGET', name, unpack(digests))) do
      time = math.max(time, tonumber(found or 0))
    end
  end
  return time
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
-- `cooling`: the generations of COOLING_UNTIL, nil when there are none; `cooldown_ms`: the queue's.
local function due_as_head(digests, own, cooling, cooldown_ms)
  local due = math.max(now, cooling and cooling_until(cooling, digests) or 0)
  for _, digest in ipairs(own > 0 and digests or {}) do
    due = math.max(due, finished_at(digest, cooldown_ms) + own)
  end
  return due
end
