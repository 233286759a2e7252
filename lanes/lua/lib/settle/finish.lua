-- Finish events: they leave their lanes, and each of their successors waits for one event less. All that is needed is read
-- at once, changed in tables and written at once: this is most of what settling costs. Uses clock and
-- bulk.

-- What finishing does, decided but not written. `names`: sequences, all owned by the claim;
-- `failure_of`: why those of them that are buried are; `groups`: '' or which name of its fate each has, see fates.lua;
-- `exists`: by name, whether ATTEMPTS, EXPIRED_CLAIMS and COOLDOWN exist.
local function decide_finish(names, failure_of, groups, exists)
  local sub, byte = sub, byte -- the loop reads its own ones quicker
  local digest_end = DIGEST_BYTES - 1
  local records, links_of = read_all('HMGET', EVENT, names), read_all('HMGET', LINKS, names)
  local some_failures = next(failure_of) ~= nil
  local cooldown_of = exists[COOLDOWN] and read_all('HMGET', COOLDOWN, names) or {}

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
          with_cooldown[#with_cooldown + 1] = { record = record, cooldown = cooldown }
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
      freed[#freed + 1], waits_until[#freed + 1] = successor, sub(links, LINKS_UNTIL, FIRST_SUCCESSOR - 1)
    end
    if waits == 0 and #links < FIRST_SUCCESSOR then
      without_links[#without_links + 1] = successor
    elseif waits then
      link_values[#link_values + 1] = successor
      link_values[#link_values + 1] = char(waits) .. sub(links, 2)
    end
  end

  local due = {}
  for i = 1, #freed do
    due[i] = waits_until[i] > now_text and tonumber(waits_until[i]) or now
  end
  return {
    names = finished,
    buried = buried, -- the records of those that are
    blocked = blocked, -- a predecessor is unfinished
    missing = missing, -- without a record
    freed = freed,
    due = due, -- when each of these is, by the same index, as far as it waits for earlier events
    cooldowns = exists[COOLDOWN] and read_all('HMGET', COOLDOWN, freed) or {}, -- of the freed
    with_cooldown = with_cooldown,
    cooling = nil, -- the cooldowns that begin, see settle/cooldowns.lua
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
    exists = exists,
  }
end

-- When a key was last used is only asked for an event with a cooldown, which is rare: so it is written as cheaply as can
-- be, in one text for one of 16 parts of all keys, `DIGEST TIME` after `DIGEST TIME`. A key that all events wait for anyway
-- needs no time.
local function write_finished_at(finish, cooldown_ms, generation)
  local byte, shards, cools_all = byte, {}, finish.cooling and finish.cooling.cools_all or {}
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
    if finish.cooling then
      finish.cooling.write(finish.cooling, cooldown_ms, generation)
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
  write_all('HDEL', ATTEMPTS, finish.exists[ATTEMPTS] and finish.names or {})
  write_all('HDEL', COOLDOWN, finish.exists[COOLDOWN] and finish.names or {})
  write_all('HDEL', EXPIRED_CLAIMS, finish.exists[EXPIRED_CLAIMS] and finish.names or {})
  for second, count in pairs(finish.ages) do
    if call('HINCRBY', AGE, second, -count) == 0 then
      call('HDEL', AGE, second)
      call('ZREM', AGES, second)
    end
  end
end
