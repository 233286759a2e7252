-- Settle events of a claim: delivered and buried ones leave their lanes, released ones keep their positions. Only what the
-- claim still owns is touched; the rest is reported as lost. An event whose predecessor is unfinished cannot finish.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  claim id
-- ARGV[2]  cooldown of the queue, ms; for that long the last finish of a key is remembered
-- ARGV[3]  for how long the cooldowns of one key may last, within one to two hours, ms
-- ARGV[4]  how many events leave their lanes, then their sequences
-- ARGV[…]  '' or which of the names each of these has, in one text; then the names of their fates, one a line: see fates.lua
-- ARGV[…]  how many of these are buried, then for each its sequence and its failure: the others are delivered
-- ARGV[…]  how many become dead letters that block, then for each its sequence, its failure and the name of its fate: the
--          claim "blocking", which never ends, owns it from now on
-- ARGV[…]  how many are released, then for each its sequence, the delay in ms, a line for the attempt: '' when there was
--          none, and its cooldown from now on, ms: 0 when it keeps the one it has, or has none
--
-- Returns  {lost sequences, events that are ready now, keys whose cooldowns have lasted as long as they may}. An event
--          without a record is lost too: it is ready again, and the next claim sets it aside.
-- Clock    Redis' own.
-- allow-oom
-- uses clock, bulk, generations, fates, settle/finish
local cooldown_ms, most_cooling_ms = tonumber(ARGV[2]), tonumber(ARGV[3])
local owned = CLAIM .. ARGV[1]

---- Read: the arguments, and what the claim still owns ----

local position = 4
local function section(width)
  local first = position + 1
  position = first + width * ARGV[position]
  return first, position - 1
end

local named, failure_of, blocking, released = {}, {}, {}, {}
local first, last = section(1)
local finishing_count = last - first + 1
for i = 1, finishing_count do
  named[i] = ARGV[first + i - 1]
end
local groups, fate_names = ARGV[position], fate_names_of(ARGV[position + 1])
position = position + 2
first, last = section(2)
for at = first, last, 2 do
  failure_of[ARGV[at]] = ARGV[at + 1]
end
first, last = section(3)
for at = first, last, 3 do
  named[#named + 1] = ARGV[at]
  blocking[#blocking + 1] = at
end
first, last = section(4)
for at = first, last, 4 do
  named[#named + 1] = ARGV[at]
  released[#released + 1] = at
end

local are_owned, lost, is_lost = read_all('SMISMEMBER', owned, named), {}, {}
for i = 1, #named do
  if are_owned[i] == 0 then
    lost[#lost + 1], is_lost[named[i]] = named[i], true
  end
end
local finishing, positions = named, {} -- positions: among those that were given, where some are lost
if #lost > 0 or #named > finishing_count then
  finishing = {}
  for i = 1, finishing_count do
    if are_owned[i] == 1 then
      finishing[#finishing + 1], positions[#finishing + 1] = named[i], i
    end
  end
end
local count = #finishing
local cooling = generations(COOLING_UNTIL, cooldown_ms)
local exists = which_exist({ ERASED, ATTEMPTS, EXPIRED_CLAIMS, COOLDOWN, cooling[1], cooling[2] })

---- Decide: the fates, where they are not as they were given ----

-- An event that was erased while the claim owned it counts as it was erased, unless it was sent before that.
local erased = exists[ERASED] and read_all('HMGET', ERASED, finishing) or {}
local function is_sent(name)
  return sub(name, 1, 7) == '["sent"'
end
local is_changed = #erased > 0 or find(table.concat(fate_names), UNKNOWN_FATE, 1, true)
if is_changed or (count < finishing_count and groups ~= '') then
  local texts, number_of, names = {}, {}, {}
  for i = 1, count do
    local name = fate_name_at(fate_names, groups, positions[i] or i)
    if not is_sent(name) then
      name = erased[i] or name == UNKNOWN_FATE and ERASED_FATE or name
    end
    if not number_of[name] then
      names[#names + 1], number_of[name] = name, #names + 1
    end
    texts[i] = char(math.floor(number_of[name] / 256), number_of[name] % 256)
  end
  groups, fate_names = #names > 1 and table.concat(texts) or '', names
end

---- Decide: finish ----

local finish = decide_finish(finishing, failure_of, groups, exists)
for _, names in ipairs({ finish.blocked, finish.missing }) do
  for i = 1, #names do
    lost[#lost + 1], is_lost[names[i]] = names[i], true
  end
end

local is_new = ARGV[1] ~= 'blocking' -- what the claim "blocking" owns was counted when it was buried
local burials = {} -- an event that was erased while the claim owned it leaves no dead letter
if next(failure_of) then
  -- uses records
  for i = 1, count do
    local name = finishing[i]
    local record = finish.buried[name]
    if record and not is_empty(record) then
      burials[#burials + 1] = { name, record, failure_of[name], is_new and fate_name_at(fate_names, groups, i) }
      if is_new then
        count_open(sub(record, 1, 10), 1, name)
      end
    end
  end
end

local unsent_count, sent_count = #finish.names - #burials, 0
for group, ages in pairs(groups == '' and { finish.ages } or finish.ages_of) do
  local name = fate_names[group]
  for second, number in pairs(ages) do
    sent_count = sent_count + (is_sent(name) and number or 0)
    if is_new then
      count_fate(second, name, number)
    end
  end
end
unsent_count = unsent_count - sent_count
for second, number in pairs(is_new and finish.ages or {}) do
  count_open(second, -number, -finish.sums[second])
end

---- Decide: the cooldowns, and what leaves the claim unfinished ----

cooling = (exists[cooling[1]] or exists[cooling[2]]) and cooling or nil
local some_leave = #finish.missing + #released + #blocking > 0
local leaving, attempts, released_count, now_blocking = { names = {}, ready = {}, cooldowns = {} }, {}, 0, {}
if cooling or exists[COOLDOWN] or some_leave then
  -- uses records, sequences, links, cooling, cooldown, settle/cooldowns, settle/release
  finish.cooling = decide_cooling(finish.with_cooldown, cooldown_ms, most_cooling_ms)
  leaving = begin_leaving(finish, owned, some_leave)
  for _, name in ipairs(finish.missing) do
    release(leaving, name, 0, 0, cooldown_ms)
  end
  for _, at in ipairs(released) do
    local name, delay, attempt = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    if not (is_lost[name] or leaving.has_finished[name]) then
      if attempt ~= '' then
        attempts[#attempts + 1] = name
        attempts[#attempts + 1] = (call('HGET', ATTEMPTS, name) or '') .. attempt .. '\n'
      end
      release(leaving, name, delay, tonumber(ARGV[at + 3]), cooldown_ms)
      released_count = released_count + 1
    end
  end

  -- An event that follows a released one is no longer owned, and cannot block.
  for _, at in ipairs(blocking) do
    local name = ARGV[at]
    if is_owned(leaving, name) then
      local record = call('HGET', EVENT, name)
      if not record or is_empty(record) then
        release(leaving, name, 0, 0, cooldown_ms)
      elseif links_after(finish, name) > 0 then -- a predecessor is unfinished: the event is not at its turn
        lost[#lost + 1] = name
      else
        leave(leaving, name)
        burials[#burials + 1] = { name, record, ARGV[at + 1], is_new and ARGV[at + 2] }
        count_fate(sub(record, 1, 10), ARGV[at + 2], 1)
        now_blocking[#now_blocking + 1] = name
      end
    end
  end
  if cooling or exists[COOLDOWN] then
    delay_freed(finish, cooling, cooldown_ms)
  end
end

local write_dead_letters = nil
if #burials > 0 then
  -- uses records, dead_letters
  for i = 1, #burials do
    dead_letters.add(unpack(burials[i]))
  end
  write_dead_letters = dead_letters.write
end

---- Decide: what is ready. A freed event that stands in this very claim goes on in it ----

local ready, ready_count, freed = leaving.ready, call('ZCOUNT', READY, '-inf', now), finish.freed
for i = 1, #ready, 2 do
  ready_count = ready_count + (ready[i] <= now and 1 or 0)
end
local last = #ready
for i, is_in_claim in ipairs(read_all('SMISMEMBER', owned, freed)) do
  if is_in_claim == 0 then
    ready[last + 1], ready[last + 2] = finish.due[i], freed[i]
    last = last + 2
    if finish.due[i] == now then
      ready_count = ready_count + 1
    end
  end
end
local is_settled = call('SCARD', owned) == #finish.names + #leaving.names

---- Write. Removing comes first: a Redis that is out of memory refuses what may need more, unless the script has
---- written already. So a queue can be drained, and all of this is done or nothing ----

if is_settled then
  call('DEL', owned)
  call('ZREM', CLAIMS, ARGV[1])
else
  write_all('SREM', owned, finish.names)
  write_all('SREM', owned, leaving.names)
end
write_finish(finish, cooldown_ms)
if write_dead_letters then
  write_dead_letters()
end
write_all('HDEL', ERASED, #erased > 0 and finish.names or {})
write_fates()
write_all('HSET', ATTEMPTS, attempts)
write_all('HSET', COOLDOWN, leaving.cooldowns)
write_all('ZADD', READY, ready)
write_all('SADD', BLOCKING, now_blocking)

local counts = { delivered = sent_count, unsent = unsent_count, buried = #burials, released = released_count }
for what, count in pairs(counts) do
  if count ~= 0 then
    call('HINCRBY', TOTAL, what, count)
  end
end
return { lost, ready_count, finish.cooling and finish.cooling.over or 0 }
