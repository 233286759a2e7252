-- Append events in order, all of them or none. Duplicates are dropped. Each event joins the lane of each of its keys, and
-- the lanes to which these keys were joined.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  limit: the most unfinished events the queue may hold
-- ARGV[2]  length of one generation of message ids, ms
-- ARGV[3]  ready events that one open claim is expected to take
-- ARGV[4]  cooldown of the queue, ms
-- ARGV[5]  how long a join lasts, ms
-- ARGV[6]  number of events
-- ARGV[7]  bucket and fingerprint of each event's message id, in one text
-- ARGV[8]  '' or the rank of each event, in one text: how long it waits for earlier events, ms, 5 digits; its client; the
--          rank; or records.UNRANKED
-- ARGV[9…] the record of each event without its time: a byte: how many distinct keys, their digests, the body
-- ARGV[…]  four per event that has any of these: its index among the events (from 1); its cooldown, ms; '' or a join: the
--          digests of two keys, later events with the first get the second as well; '' or the sequence of the dead letter
--          that it replaces: that one is removed, and the message id is not compared
-- Events are in the order of their ranks, as far as they have any.
--
-- Returns  false when the queue is full (nothing was written), else {flags, wake, last, missing}: flags: a text with '1'
--          for each event accepted, '2' for one that went before others, '0' for each duplicate; wake: how many deliverers to request; last: the sequence of
--          the last event accepted, 0 without any; missing: last events of lanes that have no record: their lanes begin
--          anew
-- Clock    Redis' own.
-- uses clock, layout, bulk, generations, cooldown, rank, offered, staged, insert
local MOST_JOINS = 20
local offered = tonumber(ARGV[6])
local IDS, RANKS, EVENTS, REST = ARGV[7], ARGV[8], 8, 8 + offered

---- Read and decide: which events are new ----

if call('HLEN', EVENT) + offered > tonumber(ARGV[1]) then
  return false
end

local cooldown_of, join_of, replaced_by = {}, {}, {}
for at = REST + 1, #ARGV, 4 do
  local index, join, replaces = tonumber(ARGV[at]), ARGV[at + 2], ARGV[at + 3]
  cooldown_of[index] = tonumber(ARGV[at + 1])
  join_of[index] = join ~= '' and join or nil
  replaced_by[index] = replaces ~= '' and replaces or nil
end

-- A message id is remembered in the generation of its arrival, and found there during the three that follow.
local generation = math.floor(now / ARGV[2])
local function seen(back)
  return SEEN .. generation - back
end
local buckets = {}
for index = 1, offered do
  local start = (index - 1) * (BUCKET_BYTES + FINGERPRINT_BYTES)
  buckets[index] = sub(IDS, start + 1, start + BUCKET_BYTES)
end
local is_new_generation = call('EXISTS', seen(0)) == 0
local current, older = is_new_generation and {} or read_all('HMGET', seen(0), buckets), {}
for back = 1, GENERATIONS do
  if call('EXISTS', seen(back)) == 1 then
    older[#older + 1] = read_all('HMGET', seen(back), buckets)
  end
end
local function has_fingerprint(fingerprints, fingerprint)
  local at = find(fingerprints, fingerprint, 1, true)
  while at and at % FINGERPRINT_BYTES ~= 1 do
    at = find(fingerprints, fingerprint, at + 1, true)
  end
  return at
end
local added, remembered, remembered_count = {}, {}, 0
local function is_duplicate(index)
  local id_end = index * (BUCKET_BYTES + FINGERPRINT_BYTES)
  local bucket, fingerprint = buckets[index], sub(IDS, id_end - FINGERPRINT_BYTES + 1, id_end)
  for back = 1, #older do
    local fingerprints = older[back][index]
    if fingerprints and has_fingerprint(fingerprints, fingerprint) then
      return true
    end
  end
  local fingerprints = added[bucket] or current[index]
  if fingerprints and has_fingerprint(fingerprints, fingerprint) then
    return true
  end
  fingerprints = fingerprints and fingerprints .. fingerprint or fingerprint
  added[bucket] = fingerprints
  remembered[remembered_count + 1], remembered[remembered_count + 2] = bucket, fingerprints
  remembered_count = remembered_count + 2
  return false
end

local flags, fresh, count = {}, {}, 0
local replaced, is_replaced = {}, {}
for index = 1, offered do
  local dead_letter, drop = replaced_by[index], nil
  if dead_letter then
    drop = is_replaced[dead_letter] or call('HEXISTS', DEAD, dead_letter) == 0
    is_replaced[dead_letter] = true
    replaced[#replaced + 1] = not drop and dead_letter or nil
  else
    drop = is_duplicate(index)
  end
  flags[index] = drop and '0' or '1'
  if not drop then
    count = count + 1
    fresh[count] = index
  end
end
if count == 0 then
  call('HINCRBY', TOTAL, 'duplicates', offered)
  return { table.concat(flags), 0, 0, {} }
end

---- Read and decide: the keys of each event ----

local function keys_of(event)
  local digests = {}
  for at = 2, byte(event) * DIGEST_BYTES, DIGEST_BYTES do
    digests[#digests + 1] = sub(event, at, at + DIGEST_BYTES - 1)
  end
  return digests
end

-- A key that was joined to another one adds that one, and so on. A join of this call counts from its event on.
local joins, join_names = {}, generations(JOIN, ARGV[5])
local function read_joins()
  local asked, is_asked = {}, {}
  local function ask(digest)
    if not is_asked[digest] then
      is_asked[digest] = true
      asked[#asked + 1] = digest
    end
  end
  for _, index in ipairs(fresh) do
    for _, digest in ipairs(keys_of(ARGV[EVENTS + index])) do
      ask(digest)
    end
    if join_of[index] then
      ask(sub(join_of[index], DIGEST_BYTES + 1))
    end
  end
  while #asked > 0 do
    local asked_now = asked
    asked = {}
    for _, name in ipairs(join_names) do
      for i, other in ipairs(read_all('HMGET', name, asked_now)) do
        if other and not joins[asked_now[i]] then
          joins[asked_now[i]] = other
          ask(other)
        end
      end
    end
  end
end

local function with_joins(event)
  local digests, all, is_added = keys_of(event), {}, {}
  for _, digest in ipairs(digests) do
    while digest and not is_added[digest] and #all < MOST_JOINS + #digests do
      is_added[digest] = true
      all[#all + 1] = digest
      digest = joins[digest]
    end
  end
  return char(#all) .. table.concat(all) .. sub(event, 2 + #digests * DIGEST_BYTES)
end

local event_of, new_joins = {}, {} -- event_of: with the keys that were joined
if next(join_of) or call('EXISTS', unpack(join_names)) > 0 then
  read_joins()
  for _, index in ipairs(fresh) do
    event_of[index] = with_joins(ARGV[EVENTS + index])
    local join = join_of[index]
    if join then
      local from, to = sub(join, 1, DIGEST_BYTES), sub(join, DIGEST_BYTES + 1)
      joins[from] = to
      new_joins[#new_joins + 1] = from
      new_joins[#new_joins + 1] = to
    end
  end
end

---- Read and decide: the lanes ----

-- The digests of all lanes, each once; and for each key of each event, one after the other, which lane it is.
local digests, lane_of, lane_count, lane_by, key_count = {}, {}, 0, {}, 0
for i = 1, count do
  local event = event_of[fresh[i]] or ARGV[EVENTS + fresh[i]]
  for at = 2, byte(event) * DIGEST_BYTES, DIGEST_BYTES do
    local digest = sub(event, at, at + DIGEST_BYTES - 1)
    local lane = lane_by[digest]
    if not lane then
      lane_count = lane_count + 1
      lane = lane_count
      digests[lane], lane_by[digest] = digest, lane
    end
    key_count = key_count + 1
    lane_of[key_count] = lane
  end
end
local seq = tonumber(call('GET', SEQ) or 0)
local cooling = generations(COOLING_UNTIL, ARGV[4])
cooling = call('EXISTS', unpack(cooling)) > 0 and cooling or nil

-- The last events of lanes that nothing would ever free: without predecessors they are ready or claimed, unless they have
-- no record.
local function without_record(tails, tail_links)
  local heads, missing = {}, {}
  for i = 1, #tails do
    local links = tail_links[i]
    if (not links or byte(links) == 0) and tonumber(tails[i]) <= seq then
      heads[#heads + 1] = tails[i]
    end
  end
  for i, is_ready in ipairs(read_all('ZMSCORE', READY, heads)) do
    missing[#missing + 1] = not is_ready and call('HEXISTS', EVENT, heads[i]) == 0 and heads[i] or nil
  end
  return missing
end

-- An index of a table is cheaper than a call of char.
local as_byte = setmetatable({}, {
  __index = function(made, number)
    made[number] = char(number)
    return made[number]
  end,
})

local has_ranks = RANKS ~= ''
local offered_rank, offered_client, offered_wait, is_clamped = offered_ranks(RANKS)
local ranks = { names = has_ranks and rank_keys(now - RANK_GENERATION_MS) or {}, stored = {}, key_of = {} }

-- By lane: the rank of its last event, and whether that event may be overtaken. A rank that is not stored any more is at
-- most that of the acceptance.
local last_rank, last_waits = {}, {}
local function read_last_rank(lane, last)
  local name = sub(last, 3, 2 + byte(last, 2))
  local stored = ranks.stored[name]
  if stored then
    last_rank[lane] = sub(stored, CLIENT_END + 1, RANK_END)
    last_waits[lane] = sub(stored, MARK, MARK) == 'c' or tonumber(sub(stored, 1, UNTIL_END)) > now
  else
    local record = call('HGET', EVENT, name)
    last_rank[lane], last_waits[lane] = record and sub(record, 1, TIME_DIGITS) .. LATEST or '', false
  end
  return last_rank[lane]
end

-- The key in which a rank is stored, and its values for this call.
local rank_values, values_at = {}, {}
local function rank_values_at(kept_until_ms)
  local values = values_at[kept_until_ms]
  if not values then
    local name, expires_at_ms = rank_key(kept_until_ms)
    values = rank_values[name] or { name = name, count = 0, expires_at_ms = expires_at_ms }
    values_at[kept_until_ms], rank_values[name] = values, values
  end
  return values
end

local lanes, events, ready, newly_due, cooldowns, link_values, late
local first_of, lengths -- of the lanes that have several events: the first one, as it is stored; how many
local missing, is_missing, begun_anew, is_sound = {}, {}, {}, false
while not is_sound do -- once more when a lane ends in an event without a record
  lanes = read_all('HMGET', LANE, digests)
  for lane = 1, #missing > 0 and lane_count or 0 do
    if lanes[lane] and is_missing[sub(lanes[lane], 3, 2 + byte(lanes[lane], 2))] then
      lanes[lane] = false
      begun_anew[#begun_anew + 1] = digests[lane]
    end
  end

  events, ready, newly_due, cooldowns, first_of, lengths = {}, {}, 0, {}, {}, {}
  rank_values, values_at, late = {}, {}, {} -- late: the first event that goes before others, and all behind it in this call
  local late_tails = {}
  if has_ranks then
    local lasts = {}
    ranks.stored, last_rank, last_waits = {}, {}, {}
    for lane = 1, lane_count do
      local name = lanes[lane] and sub(lanes[lane], 3, 2 + byte(lanes[lane], 2))
      if name and ranks.stored[name] == nil then
        ranks.stored[name] = false
        lasts[#lasts + 1] = name
      end
    end
    read_ranks(ranks, lasts)
  end
  local links, waiting, waits_of, key, ready_count, waiting_count, event_count = {}, {}, {}, 0, 0, 0, 0
  for i = 1, count do
    local index = fresh[i]
    local name, event = format('%d', seq + i), event_of[index] or ARGV[EVENTS + index]
    local rank, is_raised, is_late = nil, is_clamped, #late > 0
    for own_key = 1, has_ranks and byte(event) or 0 do
      local lane = lane_of[key + own_key]
      local last = lanes[lane]
      if last then
        rank = rank or offered_rank(index)
        local other = last_rank[lane] or read_last_rank(lane, last)
        if other > rank then
          is_late = is_late or last_waits[lane]
          rank, is_raised = other, true
        end
      end
    end
    if is_late then
      for own_key = 1, byte(event) do
        local last = lanes[lane_of[key + own_key]]
        late_tails[#late_tails + 1] = last and sub(last, 3, 2 + byte(last, 2)) or nil
      end
      late[#late + 1] = i
      key = key + byte(event)
    else
      local waits, cooldown, predecessors = 0, cooldown_of[index] or 0, ''
      for own_key = 0, byte(event) - 1 do
        key = key + 1
        local lane = lane_of[key]
        local last = lanes[lane]
        if last then
          local last_key, digits = byte(last, 1, 2)
          local last_end = 2 + digits
          if lengths[lane] then
            lengths[lane] = lengths[lane] + 1
          elseif #last > last_end then -- as it was read
            local first_end = last_end + 1 + byte(last, last_end + 1)
            first_of[lane], lengths[lane] = sub(last, last_end + 1, first_end), sub(last, first_end + 1) + 1
          else
            first_of[lane], lengths[lane] = sub(last, 2), 2
          end
          local before = sub(last, 3, last_end)
          links[before] = (links[before] or '') .. as_byte[last_key] .. as_byte[#name] .. name
          waits = waits + 1
          predecessors = has_ranks and predecessors .. sub(last, 2, last_end)
        else
          predecessors = has_ranks and predecessors .. '\0'
        end
        lanes[lane] = as_byte[own_key] .. as_byte[#name] .. name
      end
      events[event_count + 1], events[event_count + 2] = name, now_text .. event
      event_count = event_count + 2
      local until_ms = now
      if has_ranks then
        local wait, at = offered_wait(index), (index - 1) * OFFERED_BYTES
        local offer = is_raised and offered_client(index) .. (rank or offered_rank(index))
          or sub(RANKS, at + WAIT_DIGITS + 1, at + OFFERED_BYTES)
        local mark = cooldown > 0 and wait.is_ranked and 'c' or '-'
        local stored = wait.text .. offer .. mark .. predecessors
        ranks.stored[name], until_ms = stored, wait.at
        if until_ms > now or mark == 'c' then
          local values = rank_values_at(math.max(until_ms, now + math.min(cooldown, LONGEST_WAIT_MS)))
          ranks.key_of[name] = values.name
          local value_count = values.count
          values[value_count + 1], values[value_count + 2] = name, stored
          values.count = value_count + 2
        end
        for own_key = 0, byte(event) - 1 do
          last_rank[lane_of[key - own_key]], last_waits[lane_of[key - own_key]] = rank, until_ms > now or mark == 'c'
        end
      end
      if waits > 0 then
        waiting_count = waiting_count + 1
        waiting[waiting_count], waits_of[waiting_count] = name, waits
      else
        local due = until_ms
        if cooldown > 0 or cooling then
          due = math.max(due, due_as_head(keys_of(event), cooldown, cooling, ARGV[4]))
        end
        newly_due = newly_due + (due == now and 1 or 0)
        ready[ready_count + 1], ready[ready_count + 2] = due == now and now_text or due, name
        ready_count = ready_count + 2
      end
      if cooldown > 0 then
        cooldowns[#cooldowns + 1] = name
        cooldowns[#cooldowns + 1] = cooldown
      end
    end
  end

  link_values = {}
  for i = 1, waiting_count do
    local name = waiting[i]
    link_values[2 * i - 1], link_values[2 * i] = name, as_byte[waits_of[i]] .. (links[name] or '')
    links[name] = nil
  end
  local tails = {} -- the others that have a successor now
  for name in pairs(links) do
    tails[#tails + 1] = name
  end
  local tail_links = read_all('HMGET', LINKS, tails)
  for i = 1, #tails do
    link_values[#link_values + 1] = tails[i]
    link_values[#link_values + 1] = (tail_links[i] or as_byte[0]) .. links[tails[i]]
  end

  local found = without_record(tails, tail_links)
  for _, name in ipairs(without_record(late_tails, read_all('HMGET', LINKS, late_tails))) do
    found[#found + 1] = name
  end
  is_sound = #found == 0
  for i = 1, #found do
    missing[#missing + 1], is_missing[found[i]] = found[i], true
  end
end
local missing_count = #missing
for _, is_known in ipairs(read_all('SMISMEMBER', MISSING, missing)) do
  missing_count = missing_count - is_known
end

local lane_values, hot_values, lane_value_count = {}, {}, 0
for lane = 1, lane_count do
  local value, length = lanes[lane], lengths[lane]
  if value and length then
    value = value .. first_of[lane] .. format('%d', length)
    if length >= HOT_LENGTH then
      hot_values[#hot_values + 1] = length
      hot_values[#hot_values + 1] = digests[lane]
    end
  end
  if value then -- else only late events have this key
    lane_values[lane_value_count + 1], lane_values[lane_value_count + 2] = digests[lane], value
    lane_value_count = lane_value_count + 2
  end
end

---- Decide: the events that go before others ----

-- What was decided so far is staged, since they go before those of this call too.
local flag_of, not_ready = {}, {}
local function insert_late()
  stage(LANE, lane_values)
  stage(LINKS, link_values)
  stage(EVENT, events)
  stage(COOLDOWN, cooldowns)
  for name, values in pairs(rank_values) do
    stage(name, values)
  end
  for _, digest in ipairs(begun_anew) do
    if not staged[LANE][digest] then
      put(LANE, digest, false)
    end
  end
  local due_of = {}
  for at = 1, #ready, 2 do
    due_of[ready[at + 1]] = tonumber(ready[at])
  end
  for _, i in ipairs(late) do
    local index, name = fresh[i], format('%d', seq + i)
    local event, cooldown = event_of[index] or ARGV[EVENTS + index], cooldown_of[index] or 0
    local wait = offered_wait(index)
    local inserted = {
      name = name,
      record = now_text .. event,
      digests = keys_of(event),
      client = offered_client(index),
      rank = offered_rank(index),
      mark = cooldown > 0 and wait.is_ranked and 'c' or '-',
      until_ms = wait.at,
      kept_until_ms = math.max(wait.at, now + math.min(cooldown, LONGEST_WAIT_MS)),
    }
    local went_before, waits, long = insert(ranks, due_of, inserted)
    if ranks.key_of[name] then
      rank_values_at(inserted.kept_until_ms)
    end
    flag_of[index] = went_before and '2' or nil
    if cooldown > 0 then
      put(COOLDOWN, name, cooldown)
    end
    if waits == 0 then
      due_of[name] = math.max(inserted.until_ms, due_as_head(inserted.digests, cooldown, cooling, ARGV[4]))
    end
    for key, length in ipairs(long) do
      if length >= HOT_LENGTH then
        hot_values[#hot_values + 1] = length
        hot_values[#hot_values + 1] = inserted.digests[key]
      end
    end
  end
  ready = {}
  for name, due in pairs(due_of) do
    if due then
      ready[#ready + 1] = due
      ready[#ready + 1] = name
    else
      not_ready[#not_ready + 1] = name
    end
  end
end
if #late > 0 then
  insert_late()
end
for index, flag in pairs(flag_of) do
  flags[index] = flag
end

local lanes_are_new, links_are_new = call('EXISTS', LANE) == 0, call('EXISTS', LINKS) == 0
local due_count = call('ZCOUNT', READY, '-inf', now_text) + newly_due
local open_claims = call('ZCARD', CLAIMS)
local wanted = math.min(math.ceil(due_count / ARGV[3]) - open_claims, MOST_WAKEUPS)
-- One that is due soon needs a deliverer that waits for it.
wanted = math.max(wanted, #ready > 0 and open_claims == 0 and 1 or 0)

---- Write ----

-- Redis keeps a small hash as a list that is searched from its start, which is slow for hundreds of fields a call; one
-- long value makes a table of it.
local function write_table(key, values, is_new)
  if #values > 0 and is_new then
    call('HSET', key, 'table', string.rep('-', 65))
    write_all('HSET', key, values)
    call('HDEL', key, 'table')
  else
    write_all('HSET', key, values)
  end
end

write_all('ZREM', READY, not_ready)
if #late > 0 then
  flush()
else
  write_all('HSET', EVENT, events)
end
if #missing > 0 then
  write_all('ZREM', HOT, begun_anew)
  write_all('SADD', MISSING, missing)
  call('EXPIRE', MISSING, MISSING_KEPT_S)
  call('HINCRBY', TOTAL, 'missing', missing_count)
end
call('INCRBY', SEQ, count)
if #late == 0 then
  write_table(LANE, lane_values, lanes_are_new)
  write_table(LINKS, link_values, links_are_new)
  write_all('HSET', COOLDOWN, cooldowns)
end
for name, values in pairs(rank_values) do
  write_all('HSET', name, #late == 0 and values or {})
  call('PEXPIREAT', name, values.expires_at_ms)
end
write_all('ZADD', READY, ready)
write_all('ZADD', HOT, hot_values)
if call('HINCRBY', AGE, time[1], count) == count then
  call('ZADD', AGES, time[1], time[1])
end
call('HINCRBY', TOTAL, 'accepted', count)
if next(flag_of) then
  local reordered = 0
  for _ in pairs(flag_of) do
    reordered = reordered + 1
  end
  call('HINCRBY', TOTAL, 'reordered', reordered)
end
if count < offered then
  call('HINCRBY', TOTAL, 'duplicates', offered - count)
end

write_all('HSET', seen(0), remembered)
if is_new_generation then
  call('PEXPIRE', seen(0), (GENERATIONS + 2) * ARGV[2])
  call('UNLINK', seen(GENERATIONS + 1))
end
if #new_joins > 0 then
  write_all('HSET', join_names[1], new_joins)
  call('PEXPIRE', join_names[1], 2 * ARGV[5])
end
if #replaced > 0 then
  write_all('HDEL', DEAD, replaced)
  write_all('HDEL', FAILURE, replaced)
  write_all('ZREM', DEAD_INDEX, replaced)
end

---- Wake ----

local wake = wanted > 0 and call('SET', WAKEUP, '1', 'PX', WAKEUP_MS, 'NX')
return { table.concat(flags), wake and wanted or 0, seq + count, missing }
