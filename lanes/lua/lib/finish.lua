-- Finish events: they leave their lanes, and each of their successors waits for one event less. All that is needed is read
-- at once, changed in tables and written at once: this is most of what settling costs. Uses clock, bulk, layout and
-- cooldown.

-- The cooldowns that begin, bounded. `events`: {record, own, run} of each event with a cooldown, in their order. Return by
-- digest `until_of` and `run_of`, where one begins, and `cools_all`: whether all events wait for it; `values`: of
-- COOLING_UNTIL; `cooled`: of COOLED; `over`: how many bounds were reached.
local function decide_cooling(events, cooldown_ms, most_ms)
  local until_of, run_of, cools_all, changed, over = {}, {}, {}, {}, 0
  local names = generations(COOLING_UNTIL, cooldown_ms)
  local function cools_until(digest)
    local stored = until_of[digest] or call('HGET', names[1], digest) or call('HGET', names[2], digest) or now
    return math.max(now, tonumber(sub(stored, 1, TIME_DIGITS)))
  end
  for _, event in ipairs(events) do
    local digests, until_ms = digests_of(event.record), now + event.own
    local delay, is_late = delay_of(digests, tonumber(sub(event.record, 1, TIME_DIGITS)), event.run, cooldown_ms)
    over, is_late = over + (delay >= most_ms and not is_late and 1 or 0), is_late or delay >= most_ms
    for _, digest in ipairs(digests) do
      local state = cooled_of(digest)
      if not (is_late or state.is_exempt) then
        local added = math.max(until_ms - cools_until(digest), 0)
        state.lasted, state.current = state.lasted + added, state.current + added
        until_of[digest], run_of[digest] = until_ms, event.run
        cools_all[digest] = event.own >= cooldown_ms
      end
      state.delay, state.is_late, state.finished, state.run = delay, is_late, now, event.run
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
  }
end

-- What finishing does, decided but not written. `names`: sequences, all owned by the claim;
-- `failure_of`: why those of them that are buried are; `cooldown_ms`: the queue's; `most_cooling_ms`: for how long the
-- cooldowns of one key may last; `groups`: '' or which name of its fate each has, see fates.lua.
local function decide_finish(names, failure_of, cooldown_ms, most_cooling_ms, groups)
  local sub, byte = sub, byte -- the loop reads its own ones quicker
  local digest_end = DIGEST_BYTES - 1
  local records, links_of = read_all('HMGET', EVENT, names), read_all('HMGET', LINKS, names)
  local some_cooldown, some_failures = call('EXISTS', COOLDOWN) == 1, next(failure_of) ~= nil
  local cooldown_of = some_cooldown and read_all('HMGET', COOLDOWN, names) or {}

  local event_count, finished_count = call('HLEN', EVENT), 0
  local finished, buried, missing, ages = {}, {}, {}, {}
  local sums, ages_of, some_groups = {}, {}, groups ~= '' -- by second of acceptance; ages_of: by group
  local second_before, age, sum = nil, 0, 0 -- what ages and sums lack yet
  local function add_age()
    if second_before then
      ages[second_before] = (ages[second_before] or 0) + age
      sums[second_before] = (sums[second_before] or 0) + sum
    end
  end
  local with_cooldown = {}
  local successors, passed = {}, {} -- passed: the lanes that were passed on to each that has not finished itself
  -- The lanes that had several events and lost some; by digest, the head now or false, and how many left it.
  local digests, heads, left = {}, {}, {}
  local empty_lanes, empty_count = {}, 0
  local without_links, own_digests = {}, {} -- own_digests: of the event at hand, by the number of its key
  -- Most predecessors have a smaller sequence, so one round finishes all. An event that was put before an earlier one has
  -- not: what waits for it finishes in the next round.
  local todo, blocked = nil, nil
  repeat
    local finished_before = finished_count
    blocked = {}
    for at = 1, todo and #todo or #names do
      local i = todo and todo[at] or at
      local name, record, links, cooldown = names[i], records[i], links_of[i], cooldown_of[i]
      local is_blocked = links and byte(links) > (passed[name] or 0)
      if not record and not is_blocked then -- a dead letter that blocks has its record there too
        record, event_count = call('HGET', DEAD, name), event_count + 1
      end
      if is_blocked then
        blocked[#blocked + 1] = i
      elseif not record then
        missing[#missing + 1] = name
      else
        if cooldown then
          local own, run = read_cooldown(cooldown)
          with_cooldown[#with_cooldown + 1] = { record = record, own = own, run = run }
        end
        local digest_at = KEY_COUNT + 1
        for key = 0, byte(record, KEY_COUNT) - 1 do
          local digest = sub(record, digest_at, digest_at + digest_end)
          digest_at = digest_at + DIGEST_BYTES
          if links then
            local left_before = left[digest]
            if not left_before then
              digests[#digests + 1] = digest
              left_before = 0
            end
            left[digest] = left_before + 1
            heads[digest] = false
            own_digests[key] = digest
          else -- it was alone
            empty_count = empty_count + 1
            empty_lanes[empty_count] = digest
          end
        end
        if links then
          local at = FIRST_SUCCESSOR
          while at < #links do
            local key, digits = byte(links, at, at + 1)
            local successor = sub(links, at + 2, at + 1 + digits)
            local passed_so_far = passed[successor]
            if not passed_so_far then
              successors[#successors + 1] = successor
            end
            heads[own_digests[key]] = successor
            passed[successor] = (passed_so_far or 0) + 1
            at = at + 2 + digits
          end
          passed[name] = nil
          without_links[#without_links + 1] = name
        end
        local second = sub(record, 1, 10)
        if second ~= second_before then -- most are of the second of the one before
          add_age()
          second_before, age, sum = second, 0, 0
        end
        age, sum = age + 1, sum + name
        if some_groups then
          local high, low = byte(groups, 2 * i - 1, 2 * i)
          local of_group = ages_of[256 * high + low] or {}
          of_group[second], ages_of[256 * high + low] = (of_group[second] or 0) + 1, of_group
        end
        finished_count = finished_count + 1
        finished[finished_count] = name
        if some_failures and failure_of[name] then
          buried[name] = record
        end
      end
    end
    todo = blocked
  until #blocked == 0 or finished_count == finished_before
  add_age()
  for at = 1, #blocked do
    blocked[at] = names[blocked[at]]
  end

  local lane_values, long_digests, cold = {}, {}, {}
  for i = 1, #digests do
    local digest = digests[i]
    if heads[digest] then
      long_digests[#long_digests + 1] = digest
    else
      empty_count = empty_count + 1
      empty_lanes[empty_count] = digest
      if left[digest] >= HOT_LENGTH then
        cold[#cold + 1] = digest
      end
    end
  end
  for i, text in ipairs(read_all('HMGET', LANE, long_digests)) do
    local digest, tail_end = long_digests[i], 2 + byte(text, 2)
    local length = tonumber(sub(text, tail_end + 2 + byte(text, tail_end + 1)))
    local remaining, head = length - left[digest], heads[digest]
    lane_values[2 * i - 1] = digest
    lane_values[2 * i] = sub(text, 1, tail_end)
      .. (remaining > 1 and char(#head) .. head .. format('%d', remaining) or '')
    if length >= HOT_LENGTH and remaining < HOT_LENGTH then
      cold[#cold + 1] = digest
    end
  end

  -- The successors of what finished wait for less, some for nothing: those are freed.
  local waiting, link_values, freed, waits_until = {}, {}, {}, {}
  for i = 1, #successors do
    if passed[successors[i]] then
      waiting[#waiting + 1] = successors[i]
    end
  end
  for i, links in ipairs(read_all('HMGET', LINKS, waiting)) do
    local successor = waiting[i]
    local waits = links and byte(links) - passed[successor]
    if waits == 0 then
      freed[#freed + 1], waits_until[#freed + 1] = successor, until_in(links)
    end
    if waits == 0 and #links < FIRST_SUCCESSOR then
      without_links[#without_links + 1] = successor
    elseif waits then
      link_values[#link_values + 1] = successor
      link_values[#link_values + 1] = char(waits) .. sub(links, 2)
    end
  end

  local cooling = decide_cooling(with_cooldown, cooldown_ms, tonumber(most_cooling_ms))
  return {
    names = finished,
    buried = buried, -- the records of those that are
    blocked = blocked, -- a predecessor is unfinished
    missing = missing, -- without a record
    freed = freed,
    waits_until = waits_until, -- by the same index, in digits
    cooldowns = some_cooldown and read_all('HMGET', COOLDOWN, freed) or {}, -- of the freed
    cooling = cooling,
    passed = passed,
    ages = ages,
    sums = sums, -- of sequences
    ages_of = ages_of,
    empty_lanes = empty_lanes,
    long_digests = long_digests,
    lane_values = lane_values,
    link_values = link_values,
    without_links = without_links,
    cold = cold,
    is_last = event_count == finished_count, -- no event is left
    some_attempts = call('EXISTS', ATTEMPTS) == 1,
    some_cooldown = some_cooldown,
    some_expired = call('EXISTS', EXPIRED_CLAIMS) == 1,
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

-- When each freed event is due. It may still wait for earlier ones.
local function due_of_freed(finish, cooling, cooldown_ms)
  local due, freed, cooldowns = {}, finish.freed, finish.cooldowns
  for i = 1, #freed do
    due[i] = finish.waits_until[i] > now_text and tonumber(finish.waits_until[i]) or now
  end
  if not (cooling or #finish.cooling.values > 0 or finish.some_cooldown) then
    return due
  end
  for i, record in ipairs(read_all('HMGET', EVENT, freed)) do
    local own, run = read_cooldown(cooldowns[i])
    due[i] = math.max(due[i], record and due_behind(finish, record, own, cooling, cooldown_ms, run) or 0)
  end
  return due
end

-- When a key was last used is only asked for an event with a cooldown, which is rare: so it is written as cheaply as can
-- be, in one text for one of 16 parts of all keys, `DIGEST TIME` after `DIGEST TIME`. A key that all events wait for anyway
-- needs no time.
local function write_finished_at(finish, cooldown_ms, generation)
  local byte, shards, cools_all = byte, {}, finish.cooling.cools_all
  local some_cool_all = next(cools_all) ~= nil
  for _, digests in ipairs({ finish.empty_lanes, finish.long_digests }) do
    for i = 1, #digests do
      local digest = digests[i]
      if not (some_cool_all and cools_all[digest]) then
        local shard = byte(digest) % SHARDS
        local entries = shards[shard]
        if entries then
          entries[#entries + 1] = digest
        else
          shards[shard] = { digest }
        end
      end
    end
  end
  for shard, entries in pairs(shards) do
    local key = FINISHED_AT .. generation .. ':' .. shard
    local text = table.concat(entries, now_text) .. now_text
    if call('APPEND', key, text) == #text then
      call('PEXPIRE', key, 2 * cooldown_ms)
    end
  end
end

local function write_finish(finish, cooldown_ms)
  if cooldown_ms > 0 then
    local generation = math.floor(now / cooldown_ms)
    write_finished_at(finish, cooldown_ms, generation)
    if #finish.cooling.values > 0 then
      write_all('HSET', COOLING_UNTIL .. generation, finish.cooling.values)
      call('PEXPIRE', COOLING_UNTIL .. generation, 2 * cooldown_ms)
    end
    if #finish.cooling.cooled > 0 then
      local cooled_name = generations(COOLED, COOLED_KEPT_MS)[1]
      write_all('HSET', cooled_name, finish.cooling.cooled)
      call('PEXPIRE', cooled_name, 2 * COOLED_KEPT_MS)
    end
    if finish.cooling.over > 0 then
      call('HINCRBY', TOTAL, 'unbounded_keys', finish.cooling.over)
    end
  end
  if finish.is_last then -- what events without records left behind goes too
    call('UNLINK', EVENT, LANE, LINKS, HOT, AGE, AGES, ATTEMPTS, COOLDOWN, EXPIRED_CLAIMS, ERASED)
    return
  end
  write_all('HSET', LANE, finish.lane_values)
  write_all('HDEL', LANE, finish.empty_lanes)
  write_all('ZREM', HOT, finish.cold)
  write_all('HSET', LINKS, finish.link_values)
  write_all('HDEL', LINKS, finish.without_links)
  write_all('HDEL', EVENT, finish.names)
  write_all('HDEL', ATTEMPTS, finish.some_attempts and finish.names or {})
  write_all('HDEL', COOLDOWN, finish.some_cooldown and finish.names or {})
  write_all('HDEL', EXPIRED_CLAIMS, finish.some_expired and finish.names or {})
  for second, count in pairs(finish.ages) do
    if call('HINCRBY', AGE, second, -count) == 0 then
      call('HDEL', AGE, second)
      call('ZREM', AGES, second)
    end
  end
end
