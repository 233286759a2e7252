-- The ranks of the events that wait: as they are stored, and as an append leaves them. Uses clock, bulk and rank.

-- Greater than what follows the time in any rank.
local LATEST = string.rep('9', RANK_DIGITS - TIME_DIGITS)

-- `names`: the keys in which ranks are looked for. `stored`: event → its rank as it is stored, false without; `key_of`:
-- event → its key. `values`: key → what is written there.
local function no_ranks(names)
  return { names = names, stored = {}, key_of = {}, values = {}, values_until = {} }
end

local function read_ranks(ranks, events)
  local stored, key_of = ranks.stored, ranks.key_of
  for at = #ranks.names, 1, -1 do -- most wait as long as others, so the last ones are in the last generation
    local key, others = ranks.names[at], {}
    local found = read_all('HMGET', key, events)
    for i = 1, #events do
      local event, rank = events[i], found[i]
      if rank then
        stored[event], key_of[event] = rank, key
      else
        others[#others + 1] = event
      end
    end
    events = others
  end
  for i = 1, #events do
    stored[events[i]] = false
  end
  return events
end

-- An event whose rank is not stored any more was accepted later than it happened; and not after now, unless the clock has
-- stepped back.
local function rank_at_most(record)
  local accepted = record and sub(record, 1, TIME_DIGITS)
  return accepted and (accepted > now_text and now_text or accepted) .. LATEST or ''
end

-- Return the ranks of the last events of lanes, by lane: as they are stored, else what they are at most. When none is
-- greater than `least`, return nil instead; not so without `least`. `tails`: false where a lane has no event.
local function read_tail_ranks(ranks, tails, lane_count, least)
  local asked, is_asked, stored = {}, {}, ranks.stored
  for lane = 1, lane_count do
    local tail = tails[lane]
    if tail and not is_asked[tail] then
      is_asked[tail] = true
      asked[#asked + 1] = tail
    end
  end
  local unranked, at_most, is_any_greater = read_ranks(ranks, asked), {}, not least
  for i, record in ipairs(read_all('HMGET', EVENT, unranked)) do
    at_most[unranked[i]] = rank_at_most(record)
  end
  for i = 1, #asked do
    local tail = asked[i]
    is_any_greater = is_any_greater or (stored[tail] or at_most[tail]) > least
  end
  local rank_of = is_any_greater and {} or nil
  for lane = 1, is_any_greater and lane_count or 0 do
    local tail = tails[lane]
    rank_of[lane] = tail and (stored[tail] or at_most[tail])
  end
  return rank_of
end

local function values_until(ranks, kept_until_ms)
  local values = ranks.values_until[kept_until_ms]
  if not values then
    local key, generation = rank_key(kept_until_ms)
    local expires_at_ms = format('%d', (generation + 3) * RANK_GENERATION_MS)
    values = ranks.values[key] or { key = key, expires_at_ms = expires_at_ms, count = 0 }
    ranks.values_until[kept_until_ms], ranks.values[key] = values, values
  end
  return values
end

-- Keep the rank of a new event until its wait and its cooldown are over.
local function keep_rank(ranks, name, stored, until_ms, cooldown)
  if until_ms > now or cooldown > 0 then
    local values = cooldown == 0 and ranks.values_until[until_ms]
      or values_until(ranks, math.max(until_ms, now + math.min(cooldown, LONGEST_WAIT_MS)))
    local count = values.count
    values[count + 1] = name
    values[count + 2] = stored
    values.count = count + 2
  else
    ranks.stored[name] = stored
  end
end

-- Whether earlier events may go before an event for some time, by its rank as it is stored.
local function may_be_waiting(stored)
  return sub(stored, MARK, MARK) == 'c' or tonumber(sub(stored, CLIENT_END + 1, UNTIL_END)) > now
end
