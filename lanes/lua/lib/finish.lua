-- Finish events: they leave their lanes, and each of their successors waits for one event less. All that is needed is read
-- at once, changed in tables and written at once: this is most of what settling costs. Uses bulk, layout, cooldown and rank.

-- The cooldowns that begin, bounded: `until_of` loses those of keys whose cooldowns have lasted as long as they may. Return
-- {values, cooled = field and value of COOLED, exempt_count}.
local function decide_cooling(until_of, run_of, cooldown_ms, most_cooling_ms)
  local digests, values, cooled, exempt_count = {}, {}, {}, 0
  for digest in pairs(until_of) do
    digests[#digests + 1] = digest
  end
  local cooling, counted = generations(COOLING_UNTIL, cooldown_ms), generations(COOLED, COOLED_KEPT_MS)
  local until_before, older = read_all('HMGET', cooling[1], digests), read_all('HMGET', cooling[2], digests)
  local lasted, lasted_before = read_all('HMGET', counted[1], digests), read_all('HMGET', counted[2], digests)
  for i, digest in ipairs(digests) do
    if lasted[i] == EXEMPT or lasted_before[i] == EXEMPT then
      until_of[digest] = nil
    else
      values[#values + 1], values[#values + 2] = digest, format('%d', until_of[digest]) .. (run_of[digest] or '')
      local before = math.max(now, sub(until_before[i] or older[i] or '0', 1, TIME_DIGITS) + 0)
      local lasts = (lasted[i] or 0) + math.max(until_of[digest] - before, 0)
      local is_over = lasts + (lasted_before[i] or 0) >= tonumber(most_cooling_ms)
      exempt_count = exempt_count + (is_over and 1 or 0)
      cooled[#cooled + 1], cooled[#cooled + 2] = digest, is_over and EXEMPT or format('%d', lasts)
    end
  end
  return { values = values, cooled = cooled, exempt_count = exempt_count }
end

-- What finishing does, decided but not written. `names`: sequences, all owned by the claim;
-- `failure_of`: why those of them that are buried are; `cooldown_ms`: the queue's; `most_cooling_ms`: for how long the
-- cooldowns of one key may last.
local function decide_finish(names, failure_of, cooldown_ms, most_cooling_ms)
  local sub, byte, DIGEST_BYTES, KEY_COUNT = sub, byte, DIGEST_BYTES, KEY_COUNT -- the loop reads its own ones quicker
  local records, links_of = read_all('HMGET', EVENT, names), read_all('HMGET', LINKS, names)
  local some_cooldown, some_failures = call('EXISTS', COOLDOWN) == 1, next(failure_of) ~= nil
  local cooldown_of = some_cooldown and read_all('HMGET', COOLDOWN, names) or {}

  local event_count, finished_count = call('HLEN', EVENT), 0
  local finished, buried, missing, ages = {}, {}, {}, {}
  local cooling_until_of, run_of, cools_all = {}, {}, {}
  local successors, passed = {}, {} -- passed: the lanes that were passed on to each that has not finished itself
  -- The lanes that had several events and lost some, by number: digest, head now or false, how many left it.
  local digests, heads, left, lane_by, lane_count = {}, {}, {}, {}, 0
  local empty_lanes, empty_count = {}, 0
  local without_links, own_lanes = {}, {} -- own_lanes: of the event at hand, by the number of its key
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
        local own, run
        if cooldown then
          own, run = read_cooldown(cooldown)
        end
        for key = 0, byte(record, KEY_COUNT) - 1 do
          local at = KEY_COUNT + 1 + key * DIGEST_BYTES
          local digest = sub(record, at, at + DIGEST_BYTES - 1)
          if links then
            local lane = lane_by[digest]
            if not lane then
              lane_count = lane_count + 1
              lane = lane_count
              digests[lane], left[lane], lane_by[digest] = digest, 0, lane
            end
            heads[lane], left[lane], own_lanes[key] = false, left[lane] + 1, lane
          else -- it was alone
            empty_count = empty_count + 1
            empty_lanes[empty_count] = digest
          end
          if own then
            cooling_until_of[digest], run_of[digest] = now + own, run
            cools_all[digest] = own >= cooldown_ms
          end
        end
        if links then
          local at = 2
          while at < #links do
            local key, digits = byte(links, at, at + 1)
            local successor = sub(links, at + 2, at + 1 + digits)
            local passed_so_far = passed[successor]
            if not passed_so_far then
              successors[#successors + 1] = successor
            end
            heads[own_lanes[key]], passed[successor] = successor, (passed_so_far or 0) + 1
            at = at + 2 + digits
          end
          passed[name] = nil
          without_links[#without_links + 1] = name
        end
        local second = sub(record, 1, 10)
        ages[second] = (ages[second] or 0) + 1
        finished_count = finished_count + 1
        finished[finished_count] = name
        if some_failures and failure_of[name] then
          buried[name] = record
        end
      end
    end
    todo = blocked
  until #blocked == 0 or finished_count == finished_before
  for at = 1, #blocked do
    blocked[at] = names[blocked[at]]
  end

  local lane_values, long_lanes, long_digests, cold = {}, {}, {}, {}
  for lane = 1, lane_count do
    if heads[lane] then
      long_lanes[#long_lanes + 1] = lane
      long_digests[#long_digests + 1] = digests[lane]
    else
      empty_count = empty_count + 1
      empty_lanes[empty_count] = digests[lane]
      if left[lane] >= HOT_LENGTH then
        cold[#cold + 1] = digests[lane]
      end
    end
  end
  for i, text in ipairs(read_all('HMGET', LANE, long_digests)) do
    local lane, digest, tail_end = long_lanes[i], long_digests[i], 2 + byte(text, 2)
    local length = tonumber(sub(text, tail_end + 2 + byte(text, tail_end + 1)))
    local remaining, head = length - left[lane], heads[lane]
    lane_values[2 * i - 1] = digest
    lane_values[2 * i] = sub(text, 1, tail_end)
      .. (remaining > 1 and char(#head) .. head .. format('%d', remaining) or '')
    if length >= HOT_LENGTH and remaining < HOT_LENGTH then
      cold[#cold + 1] = digest
    end
  end

  -- The successors of what finished wait for less, some for nothing: those are freed.
  local waiting, link_values, freed = {}, {}, {}
  for i = 1, #successors do
    if passed[successors[i]] then
      waiting[#waiting + 1] = successors[i]
    end
  end
  for i, links in ipairs(read_all('HMGET', LINKS, waiting)) do
    local successor = waiting[i]
    local waits = links and byte(links) - passed[successor]
    if waits == 0 then
      freed[#freed + 1] = successor
    end
    if waits == 0 and #links == 1 then
      without_links[#without_links + 1] = successor
    elseif waits then
      link_values[#link_values + 1] = successor
      link_values[#link_values + 1] = char(waits) .. sub(links, 2)
    end
  end

  local cooling = some_cooldown and decide_cooling(cooling_until_of, run_of, cooldown_ms, most_cooling_ms)
  return {
    names = finished,
    buried = buried, -- the records of those that are
    blocked = blocked, -- a predecessor is unfinished
    missing = missing, -- without a record
    freed = freed,
    cooldowns = some_cooldown and read_all('HMGET', COOLDOWN, freed) or {}, -- of the freed
    cooling_until = cooling_until_of,
    run_of = run_of, -- by digest: the run of the event whose cooldown begins
    cooling_values = cooling and cooling.values or {},
    cooled_values = cooling and cooling.cooled or {},
    exempt_count = cooling and cooling.exempt_count or 0, -- keys whose cooldowns have lasted as long as they may
    cools_all = cools_all,
    passed = passed,
    ages = ages,
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
local function due_behind(finish, digests, own, cooling, cooldown_ms, run)
  local due = due_as_head(digests, own, cooling, cooldown_ms, run)
  for _, digest in ipairs(digests) do
    local until_ms = finish.cooling_until[digest]
    if until_ms and not (run and finish.run_of[digest] == run) then
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
  local until_of = waits_until(rank_keys(now), freed)
  for i = 1, #freed do
    due[i] = math.max(now, until_of[freed[i]] or 0)
  end
  if not (cooling or #finish.cooling_values > 0 or finish.some_cooldown) then
    return due
  end
  for i, record in ipairs(read_all('HMGET', EVENT, freed)) do
    local own, run = read_cooldown(cooldowns[i])
    due[i] = math.max(due[i], due_behind(finish, record and digests_of(record) or {}, own, cooling, cooldown_ms, run))
  end
  return due
end

-- When a key was last used is only asked for an event with a cooldown, which is rare: so it is written as cheaply as can
-- be, in one text for one of 16 parts of all keys, `DIGEST TIME` after `DIGEST TIME`. A key that all events wait for anyway
-- needs no time.
local function write_finished_at(finish, cooldown_ms, generation)
  local shards, now_text, cools_all = {}, format('%d', now), finish.cools_all
  for _, digests in ipairs({ finish.empty_lanes, finish.long_digests }) do
    for i = 1, #digests do
      local digest = digests[i]
      if not cools_all[digest] then
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
    if #finish.cooling_values > 0 then
      write_all('HSET', COOLING_UNTIL .. generation, finish.cooling_values)
      call('PEXPIRE', COOLING_UNTIL .. generation, 2 * cooldown_ms)
      local cooled = generations(COOLED, COOLED_KEPT_MS)[1]
      write_all('HSET', cooled, finish.cooled_values)
      call('PEXPIRE', cooled, 2 * COOLED_KEPT_MS)
    end
    if finish.exempt_count > 0 then
      call('HINCRBY', TOTAL, 'unbounded_keys', finish.exempt_count)
    end
  end
  if finish.is_last then -- what events without records left behind goes too
    call('UNLINK', EVENT, LANE, LINKS, HOT, AGE, AGES, ATTEMPTS, COOLDOWN, EXPIRED_CLAIMS)
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
