-- Append events in order, all of them or none. Duplicates are dropped. Each event joins the lane of each of its keys, and
-- the lanes to which these keys were joined.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  limit: the most unfinished events the queue may hold
-- ARGV[2]  length of one generation of message ids, ms
-- ARGV[3]  ready events that one open claim is expected to take
-- ARGV[4]  cooldown of the queue, ms
-- ARGV[5]  how long a join lasts, ms
-- ARGV[6]  how many keys may be joined to one: events get no key to which more are joined
-- ARGV[7]  number of events
-- ARGV[8]  bucket and fingerprint of each event's message id, in one text
-- ARGV[9]  '' or the rank of each event, in one text: see offered.lua
-- ARGV[10] '' or which of the names each event has, in one text; ARGV[11]: the names under which they are counted as accepted,
--          one a line: see fates.lua
-- ARGV[12…] the record of each event without its time: a byte: how many distinct keys, their digests, the body
-- ARGV[…]  five per event that has any of these: its index among the events (from 1); its cooldown, ms; '' or a join: the
--          digests of two keys, later events with the first get the second as well; '' or the sequence of the dead letter
--          that it replaces: that one is removed, and the message id is not compared; '' or its run
-- Events are in the order of their ranks, as far as they have any.
--
-- Returns  false when the queue is full (nothing was written), else {flags, wake, last, missing, crowded}: flags: a text
--          with '1' for each event accepted, '2' for one that went before others, '0' for each duplicate; wake: how many
--          deliverers to request; last: the sequence of the last event accepted, 0 without any; missing: last events of
--          lanes that have no record: their lanes begin anew; crowded: how many keys have more keys joined to them than
--          they may, and had not before
-- Clock    Redis' own.
-- uses clock, bulk, generations, message_ids, newest, fates, append/memos, append/tables
local event_count = tonumber(ARGV[7])
local EVENTS = 11 -- position of the last argument before the events
local NO_WAIT = string.rep('0', TIME_DIGITS) -- in place of the time until which an event waits for earlier ones

local function tail_of(lane)
  return sub(lane, 3, 2 + byte(lane, 2))
end

---- Read and decide: which events are new ----

if call('HLEN', EVENT) + event_count > tonumber(ARGV[1]) then
  return false
end

-- By index. replaces: of events that replace a dead letter, whether it is there and not replaced yet.
local cooldown_of, join_of, run_of, replaces = {}, {}, {}, {}
local replaced, is_replaced = {}, {}
for at = EVENTS + event_count + 1, #ARGV, 5 do
  local index, join, dead_letter, run = tonumber(ARGV[at]), ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  cooldown_of[index] = tonumber(ARGV[at + 1])
  join_of[index] = join ~= '' and join or nil
  run_of[index] = run ~= '' and run or nil
  if dead_letter ~= '' then
    replaces[index] = not is_replaced[dead_letter] and call('HEXISTS', DEAD, dead_letter) == 1
    replaced[#replaced + 1] = replaces[index] and dead_letter or nil
    is_replaced[dead_letter] = true
  end
end

local ids = message_ids(ARGV[8], event_count, ARGV[2], replaces)
local fresh, flag_of = ids.fresh, {} -- flag_of: by index, without the '1' of most events
local count = #fresh
if count == 0 then
  call('HINCRBY', TOTAL, 'duplicates', event_count)
  return { string.rep('0', event_count), 0, 0, {}, 0 }
end

---- Read and decide: the keys of each event ----

local join_names = generations(JOIN, ARGV[5])
local event_of, new_joins, fan_in = {}, {}, nil -- event_of: by index, those that have joined keys as well
if next(join_of) or call('EXISTS', unpack(join_names)) > 0 then
  -- uses joins
  fan_in = new_fan_in(generations(JOINED, ARGV[5]), tonumber(ARGV[6]))
  event_of, new_joins = join_events(fresh, join_of, EVENTS, join_names, fan_in)
end

---- Read and decide: the lanes ----

-- The loops below assign one value at a time: several at once are copied first.

-- The digests of all lanes, each once; and for each key of each event, one after the other, which lane it is.
local digests, lane_of, lane_count = {}, {}, 0
do
  local lane_by, key_count = {}, 0
  for i = 1, count do
    local event = event_of[fresh[i]] or ARGV[EVENTS + fresh[i]]
    for at = 2, byte(event) * DIGEST_BYTES, DIGEST_BYTES do
      local digest = sub(event, at, at + DIGEST_BYTES - 1)
      local lane = lane_by[digest]
      if not lane then
        lane_count = lane_count + 1
        lane = lane_count
        digests[lane] = digest
        lane_by[digest] = lane
      end
      key_count = key_count + 1
      lane_of[key_count] = lane
    end
  end
end
local seq = tonumber(last_sequence or 0)
local cooling = generations(COOLING_UNTIL, ARGV[4])
cooling = call('EXISTS', unpack(cooling)) > 0 and cooling or nil

local ranking -- how ranks are read and kept; nil when no event has one
if ARGV[9] ~= '' then
  -- uses rank, offered, kept_ranks
  ranking = {
    offered = offered_ranks(ARGV[9]),
    names = is_behind and {} or rank_keys(now - RANK_GENERATION_MS),
    begin = no_ranks,
    read_tails = read_tail_ranks,
    may_be_waiting = may_be_waiting,
    keep = keep_rank,
  }
end

local ranks -- as they were read or are kept from now on, see kept_ranks.lua
local lanes, first_of, lengths -- as they were read or are from now on; of those with several events: the first one, as it
-- is stored, and how many
local events, link_values, cooldowns, ready, newly_due -- what is written, and how many of `ready` are due now
local delayed -- events with a cooldown, and heads that may wait for the cooldowns of others
local late -- the first event that goes before others, and all behind it in this call
-- The last events of lanes that have no record, also by name, and the digests of these lanes, which begin anew.
local missing, is_missing, begun_anew = {}, {}, {}
local is_sound = false
while not is_sound do -- once more when a lane ends in an event without a record
  lanes, first_of, lengths = read_all('HMGET', LANE, digests), {}, {}
  for lane = 1, #missing > 0 and lane_count or 0 do
    if lanes[lane] and is_missing[tail_of(lanes[lane])] then
      lanes[lane] = false
      begun_anew[#begun_anew + 1] = digests[lane]
    end
  end
  events, ready, newly_due, cooldowns, link_values, delayed = {}, {}, 0, {}, {}, {}
  late = {}
  local late_tails, is_late, tail_ranks = {}, false, nil -- tail_ranks: by lane; nil where no rank is to be compared
  if ranking then
    local tails = {}
    ranks = ranking.begin(ranking.names)
    for lane = 1, lane_count do
      local last = lanes[lane]
      tails[lane] = last and tail_of(last)
    end
    -- The first of these events has the least rank, unless their order changed.
    local offered = ranking.offered
    tail_ranks = ranking.read_tails(ranks, tails, lane_count, not offered.is_clamped and offered.at(fresh[1]))
  end

  local links, key, ready_count, link_count, value_count = {}, 0, 0, 0, 0 -- links: the new successors of events
  for i = 1, count do
    local index = fresh[i]
    local event = event_of[index] or ARGV[EVENTS + index]
    local key_count = byte(event)
    local rank, wait
    if ranking then
      rank, wait = ranking.offered.at(index)
    end
    if tail_ranks then -- its rank is at least that of each last event; it is late when one of these may still wait
      for own_key = key + 1, key + key_count do
        local other = tail_ranks[lane_of[own_key]]
        if other and other > rank and sub(other, 1, RANK_DIGITS) > sub(rank, 1, RANK_DIGITS) then
          is_late = is_late or #other > RANK_DIGITS and ranking.may_be_waiting(other)
          rank = sub(other, 1, RANK_DIGITS) .. sub(rank, MARK)
        end
      end
    end
    if is_late then
      for own_key = key + 1, key + key_count do
        local last = lanes[lane_of[own_key]]
        late_tails[#late_tails + 1] = last and tail_of(last) or nil
      end
      late[#late + 1] = i
      key = key + key_count
    else -- it is put behind the last event of each of its lanes
      local name = format('%d', seq + i)
      local start = start_of[#name]
      local waits, cooldown, predecessors = 0, cooldown_of[index] or 0, nil
      for own_key = 0, key_count - 1 do
        key = key + 1
        local lane = lane_of[key]
        local last = lanes[lane]
        if last then
          local last_key, last_end = byte(last, 1, 2)
          last_end = last_end + 2
          if lengths[lane] then
            lengths[lane] = lengths[lane] + 1
          elseif #last > last_end then -- as it was read
            local first_end = last_end + 1 + byte(last, last_end + 1)
            first_of[lane], lengths[lane] = sub(last, last_end + 1, first_end), sub(last, first_end + 1) + 1
          else
            first_of[lane] = sub(last, 2)
            lengths[lane] = 2
          end
          local before = sub(last, 3, last_end)
          links[before] = (links[before] or '') .. start[last_key] .. name
          waits = waits + 1
          if ranking then
            local before_text = sub(last, 2, last_end)
            predecessors = predecessors and predecessors .. before_text or before_text
          end
        elseif ranking then
          predecessors = predecessors and predecessors .. '\0' or '\0'
        end
        lanes[lane] = start[own_key] .. name
      end
      value_count = value_count + 2
      events[value_count - 1] = name
      events[value_count] = now_text .. event
      local due, until_text = now, NO_WAIT
      if ranking then
        local own_cooldown = wait.is_ranked and cooldown or 0
        if own_cooldown > 0 then
          rank = sub(rank, 1, RANK_DIGITS) .. 'c' .. sub(rank, MARK + 1)
        end
        local stored = rank .. wait.text .. (predecessors or '')
        if tail_ranks then
          for own_key = key - key_count + 1, key do
            tail_ranks[lane_of[own_key]] = stored
          end
        end
        ranking.keep(ranks, name, stored, wait.at, own_cooldown)
        due, until_text = wait.at, wait.text
      end
      if waits > 0 then
        link_count = link_count + 2
        link_values[link_count - 1] = name
        link_values[link_count] = as_byte[waits] .. until_text
      end
      if cooldown > 0 or cooling and waits == 0 then
        delayed[#delayed + 1] = {
          name = name,
          record = now_text .. event,
          cooldown = cooldown,
          run = run_of[index],
          is_head = waits == 0,
          due = due,
        }
      elseif waits == 0 then
        ready_count = ready_count + 2
        if due == now then
          newly_due = newly_due + 1
          ready[ready_count - 1] = now_text
        else
          ready[ready_count - 1] = due
        end
        ready[ready_count] = name
      end
    end
  end

  -- The successors of events of this call, then of others.
  for at = 1, link_count, 2 do
    local successors = links[link_values[at]]
    if successors then
      link_values[at + 1], links[link_values[at]] = link_values[at + 1] .. successors, nil
    end
  end
  local linked = {}
  for name in pairs(links) do
    linked[#linked + 1] = name
  end
  local found_links = read_all('HMGET', LINKS, linked)
  for i = 1, #linked do
    link_values[#link_values + 1] = linked[i]
    link_values[#link_values + 1] = (found_links[i] or as_byte[0] .. NO_WAIT) .. links[linked[i]]
  end

  is_sound = true
  if #linked + #late_tails > 0 then
    -- uses append/lost_tails
    local found = without_record(linked, found_links, seq)
    for _, name in ipairs(without_record(late_tails, read_all('HMGET', LINKS, late_tails), seq)) do
      found[#found + 1] = name
    end
    for _, name in ipairs(found) do
      missing[#missing + 1] = not is_missing[name] and name or nil
      is_missing[name], is_sound = true, false
    end
  end
end
local new_missing_count = #missing
for _, is_known in ipairs(read_all('SMISMEMBER', MISSING, missing)) do
  new_missing_count = new_missing_count - is_known
end

local lane_values, hot_values, lane_value_count = {}, {}, 0
for lane = 1, lane_count do
  local value, length = lanes[lane], lengths[lane]
  if value and length then
    value = value .. first_of[lane] .. as_text[length]
    if length >= HOT_LENGTH then
      hot_values[#hot_values + 1] = length
      hot_values[#hot_values + 1] = digests[lane]
    end
  end
  if value then -- else only late events have this key
    lane_value_count = lane_value_count + 2
    lane_values[lane_value_count - 1] = digests[lane]
    lane_values[lane_value_count] = value
  end
end

---- Decide: the events that cooldowns delay, then those that go before others ----

local not_ready, reordered, write_staged = {}, {}, nil
if #delayed + #late > 0 then
  -- uses records, cooling, cooldown
  for _, event in ipairs(delayed) do
    if event.cooldown > 0 then
      cooldowns[#cooldowns + 1] = event.name
      cooldowns[#cooldowns + 1] = cooldown_text(event.cooldown, event.run)
    end
    if event.is_head then
      local due = due_as_head(digests_of(event.record), event.cooldown, cooling, ARGV[4], event.run)
      due = math.max(event.due, due)
      newly_due = newly_due + (due == now and 1 or 0)
      ready[#ready + 1] = due
      ready[#ready + 1] = event.name
    end
  end
  if #late > 0 then -- what was decided so far is staged, since they go before events of this call too
    -- uses sequences, links, lanes, rank, kept_ranks, staged, insert, append/late
    stage(LANE, lane_values)
    stage(LINKS, link_values)
    stage(EVENT, events)
    stage(COOLDOWN, cooldowns)
    stage_ranks(ranks)
    stage_empty(begun_anew)
    for at, i in ipairs(late) do
      local index = fresh[i]
      local event, name = event_of[index] or ARGV[EVENTS + index], format('%d', seq + i)
      local rank, wait = ranking.offered.at(index)
      late[at] = new_late(index, name, event, rank, wait, cooldown_of[index] or 0, run_of[index])
    end
    ready, not_ready, reordered = insert_late(late, ranks, ready, hot_values, cooling, ARGV[4])
    for _, index in ipairs(reordered) do
      flag_of[index] = '2'
    end
    write_staged = flush
  end
end

---- Decide: the fates, and how many deliverers to request ----

local replaced_records = read_all('HMGET', DEAD, replaced)
do
  local names = fate_names_of(ARGV[11])
  if ARGV[10] == '' then
    count_fate(time[1], names[1], count)
  else
    local number_of = {}
    for i = 1, count do
      local name = fate_name_at(names, ARGV[10], fresh[i])
      number_of[name] = (number_of[name] or 0) + 1
    end
    for name, number in pairs(number_of) do
      count_fate(time[1], name, number)
    end
  end
  count_open(time[1], count, count * (seq + (count + 1) / 2))
  if #replaced > 0 then
    -- uses dead_letter_fates
    count_dead_letters(replaced, replaced_records, 'replayed')
  end
end

decide_tables({ [LANE] = lane_values, [LINKS] = link_values, [READY] = ready })

local wanted = 0
if call('EXISTS', WAKEUP) == 0 then -- else one was requested a moment ago, or polls
  local due_count, open_claims = call('ZCOUNT', READY, '-inf', now_text) + newly_due, call('ZCARD', CLAIMS)
  local needed = math.min(math.ceil(due_count / ARGV[3]) - open_claims, MOST_WAKEUPS)
  -- One that is due soon needs a deliverer that waits for it.
  wanted = math.max(needed, #ready > 0 and open_claims == 0 and 1 or 0)
end

---- Write ----

write_all('ZREM', READY, not_ready)
if write_staged then
  write_staged()
else
  write_all('HSET', EVENT, events)
end
if #missing > 0 then
  write_all('ZREM', HOT, begun_anew)
  write_all('SADD', MISSING, missing)
  call('EXPIRE', MISSING, MISSING_KEPT_S)
  call('HINCRBY', TOTAL, 'missing', new_missing_count)
end
call('MSET', SEQ, format('%d', seq + count), NEWEST, newest_now)
if #late == 0 then
  write_table('HSET', 'HDEL', LANE, lane_values)
  write_table('HSET', 'HDEL', LINKS, link_values)
  write_all('HSET', COOLDOWN, cooldowns)
end
for key, values in pairs(ranks and ranks.values or {}) do
  write_all('HSET', key, #late == 0 and values or {})
  call('PEXPIREAT', key, values.expires_at_ms)
end
write_table('ZADD', 'ZREM', READY, ready)
write_all('ZADD', HOT, hot_values)
if call('HINCRBY', AGE, time[1], count) == count then
  call('ZADD', AGES, time[1], time[1])
end
call('HINCRBY', TOTAL, 'accepted', count)
write_fates()
if #reordered > 0 then
  call('HINCRBY', TOTAL, 'reordered', #reordered)
end
if count < event_count then
  call('HINCRBY', TOTAL, 'duplicates', event_count - count)
end

ids.write()
if #new_joins > 0 then
  write_all('HSET', join_names[1], new_joins)
  call('PEXPIRE', join_names[1], 2 * ARGV[5])
end
if fan_in then
  fan_in.write(2 * ARGV[5])
end
if #replaced > 0 then
  -- uses records, dead_letters
  dead_letters.remove(replaced, replaced_records)
end

---- Wake ----

if wanted > 0 then
  call('SET', WAKEUP, '1', 'PX', WAKEUP_MS)
end
for _, index in ipairs(ids.duplicates) do
  flag_of[index] = '0'
end
local flags = string.rep('1', event_count)
if next(flag_of) then
  flags = string.gsub(flags, '()1', function(index)
    return flag_of[index]
  end)
end
return { flags, wanted, seq + count, missing, fan_in and fan_in.crowded() or 0 }
