-- The events of an append that go before events which were appended before, or before others of this call. Uses clock,
-- records, cooldown, staged and insert.

-- Stage the ranks of new events, for those that go before them.
local function stage_ranks(ranks)
  for key, values in pairs(ranks.values) do
    stage(key, values)
    for at = 1, #values, 2 do
      ranks.stored[values[at]], ranks.key_of[values[at]] = values[at + 1], key
    end
  end
end

-- Stage that the lanes of these digests are empty, unless an event of this call is in them.
local function stage_empty(digests)
  for _, digest in ipairs(digests) do
    if not staged[LANE][digest] then
      put(LANE, digest, false)
    end
  end
end

-- Return a late event as `insert` takes it, with `index`: that among the events of the call; `cooldown`: its own, ms, and
-- `run`. `event`: its record without the time; `rank`, `wait`: see `at` in offered.lua.
local function new_late(index, name, event, rank, wait, cooldown, run)
  return {
    index = index,
    cooldown = cooldown,
    run = run,
    name = name,
    record = now_text .. event,
    digests = digests_of(now_text .. event),
    client = sub(rank, MARK + 1),
    rank = sub(rank, 1, RANK_DIGITS),
    mark = cooldown > 0 and wait.is_ranked and 'c' or '-',
    until_ms = wait.at,
    kept_until_ms = math.max(wait.at, now + math.min(cooldown, LONGEST_WAIT_MS)),
  }
end

-- Insert late events in their order, when all that was decided of the others is staged. `ready`: scores and members of
-- READY, those of the others; `hot_values`: of HOT, to which those of long lanes are added; `cooling`, `cooldown_ms`: see
-- `due_as_head`. Return `ready` for all events; those that are not ready any more; and the indexes of those that went
-- before another event.
local function insert_late(late, ranks, ready, hot_values, cooling, cooldown_ms)
  local due_of, reordered = {}, {} -- due_of: by name, false when it is not ready any more
  for at = 1, #ready, 2 do
    due_of[ready[at + 1]] = tonumber(ready[at])
  end
  for _, event in ipairs(late) do
    local went_before, waits, long = insert(ranks, due_of, event)
    if went_before then
      reordered[#reordered + 1] = event.index
    end
    if event.cooldown > 0 then
      put(COOLDOWN, event.name, cooldown_text(event.cooldown, event.run))
    end
    if waits == 0 then
      local due = due_as_head(event.digests, event.cooldown, cooling, cooldown_ms, event.run)
      due_of[event.name] = math.max(event.until_ms, due)
    end
    for key, length in ipairs(long) do
      if length >= HOT_LENGTH then
        hot_values[#hot_values + 1] = length
        hot_values[#hot_values + 1] = event.digests[key]
      end
    end
  end
  local all_ready, not_ready = {}, {}
  for name, due in pairs(due_of) do
    if due then
      all_ready[#all_ready + 1] = due
      all_ready[#all_ready + 1] = name
    else
      not_ready[#not_ready + 1] = name
    end
  end
  return all_ready, not_ready, reordered
end
