-- The cooldowns that begin when events finish, and what they delay. Uses clock, bulk, records, generations and
-- cooldown.

local function write_cooling(cooling, cooldown_ms, generation)
  if #cooling.values > 0 then
    write_all('HSET', COOLING_UNTIL .. generation, cooling.values)
    call('PEXPIRE', COOLING_UNTIL .. generation, 2 * cooldown_ms)
  end
  if #cooling.cooled > 0 then
    local cooled_name = generations(COOLED, COOLED_KEPT_MS)[1]
    write_all('HSET', cooled_name, cooling.cooled)
    call('PEXPIRE', cooled_name, 2 * COOLED_KEPT_MS)
  end
  if cooling.over > 0 then
    call('HINCRBY', TOTAL, 'unbounded_keys', cooling.over)
  end
end

-- The cooldowns that begin, bounded. `events`: {record, cooldown} of each event with a cooldown, in their order; `cooldown`: as
-- it is stored. Return by digest `until_of` and `run_of`, where one begins, and `cools_all`: whether all events wait for it;
-- `values`: of COOLING_UNTIL; `cooled`: of COOLED; `over`: how many bounds were reached; `write`: writes these.
local function decide_cooling(events, cooldown_ms, most_ms)
  local until_of, run_of, cools_all, changed, over = {}, {}, {}, {}, 0
  local names = generations(COOLING_UNTIL, cooldown_ms)
  local function cools_until(digest)
    local stored = until_of[digest] or call('HGET', names[1], digest) or call('HGET', names[2], digest) or now
    return math.max(now, tonumber(sub(stored, 1, TIME_DIGITS)))
  end
  for _, event in ipairs(events) do
    local own, run = read_cooldown(event.cooldown)
    local digests, until_ms = digests_of(event.record), now + own
    local delay, is_late = delay_of(digests, tonumber(sub(event.record, 1, TIME_DIGITS)), run, cooldown_ms)
    over, is_late = over + (delay >= most_ms and not is_late and 1 or 0), is_late or delay >= most_ms
    for _, digest in ipairs(digests) do
      local state = cooled_of(digest)
      if not (is_late or state.is_exempt) then
        local added = math.max(until_ms - cools_until(digest), 0)
        state.lasted, state.current = state.lasted + added, state.current + added
        until_of[digest], run_of[digest] = until_ms, run
        cools_all[digest] = own >= cooldown_ms
      end
      state.delay, state.is_late, state.finished, state.run = delay, is_late, now, run
      changed[digest] = state
    end
  end
  local values, cooled_values = {}, {}
  for digest, state in pairs(changed) do
    if state.lasted >= most_ms and not state.is_exempt then
      over, state.is_exempt, state.is_over = over + 1, true, true
    end
    cooled_values[#cooled_values + 1], cooled_values[#cooled_values + 2] = digest, cooled_text(state)
  end
  for digest, until_ms in pairs(until_of) do
    values[#values + 1], values[#values + 2] = digest, format('%d', until_ms) .. (run_of[digest] or '')
  end
  return {
    until_of = until_of,
    run_of = run_of,
    cools_all = cools_all,
    values = values,
    cooled = cooled_values,
    over = over,
    write = write_cooling,
  }
end

-- Whether an event with this key finishes in this very call.
local function finishes_now(finish, digest)
  if not finish.digests_now then
    finish.digests_now = {}
    for _, digests in ipairs({ finish.empty_lanes, finish.long_digests }) do
      for _, own in ipairs(digests) do
        finish.digests_now[own] = true
      end
    end
  end
  return finish.digests_now[digest]
end

-- When an event is due that was freed: its own cooldown counts from when the last events with its keys finished, theirs as
-- well. Of its own run neither counts.
local function due_behind(finish, record, own, cooling, cooldown_ms, run)
  local digests, accepted_ms = digests_of(record), tonumber(sub(record, 1, TIME_DIGITS))
  if own > 0 and select(2, delay_of(digests, accepted_ms, run, cooldown_ms)) then
    return now
  end
  local due = due_as_head(digests, own, cooling, cooldown_ms, run)
  for _, digest in ipairs(digests) do
    local until_ms = finish.cooling.until_of[digest]
    if until_ms and not (run and finish.cooling.run_of[digest] == run) then
      due = math.max(due, until_ms, now + own)
    elseif own > 0 and not until_ms and finishes_now(finish, digest) and not is_exempt(digest) then
      due = math.max(due, now + own)
    end
  end
  return due
end

-- When the freed events are due because of cooldowns; finish.due is changed to that.
local function delay_freed(finish, cooling, cooldown_ms)
  for i, record in ipairs(read_all('HMGET', EVENT, finish.freed)) do
    local own, run = read_cooldown(finish.cooldowns[i])
    finish.due[i] = math.max(finish.due[i], record and due_behind(finish, record, own, cooling, cooldown_ms, run) or 0)
  end
end
