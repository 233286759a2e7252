-- Count what became of events: by the hour of their acceptance and in total, see lanes/fates.py. A count has a name, a JSON
-- array that begins with its fate. Beside the counts, each hour has the number of its open events, which wait or are dead
-- letters, and the sum of their sequences: one that is lost is told by it. Changes are collected, then written. Uses bulk.
local fates = { unknown = '["unknown","",""]', erased = '["forgotten","",""]' }
local kept_s, most_names = 30 * 86400, 1000 -- of an hour without open events; of a hash
local by_key, by_hour = {}, {} -- counts by name, with the size of the hash; open events, and the sum of their sequences

local function hour_of(second)
  return format('%d', math.floor((tonumber(second) or 0) / 3600))
end

local function with_another_reason(name)
  local parts = cjson.decode(name)
  return (string.gsub(cjson.encode({ parts[1], parts[2], 'other' }), '\\/', '/'))
end

local function add(key, name, number)
  local hash = by_key[key] or { size = call('HLEN', key), counts = {}, counted_as = {} }
  by_key[key] = hash
  if not hash.counted_as[name] then
    local is_new = hash.size >= most_names and call('HEXISTS', key, name) == 0
    hash.counted_as[name] = is_new and with_another_reason(name) or name
    hash.size = hash.size + 1
  end
  name = hash.counted_as[name]
  hash.counts[name] = (hash.counts[name] or 0) + number
end

-- `second`: of acceptance, as a text or a number.
function fates.count(second, name, number)
  add(FATES .. hour_of(second), name, number)
  add(FATES .. 'total', name, number)
end

-- `number` of events that are open from now on, less than 0: that are no longer; `sum`: of their sequences.
function fates.open(second, number, sum)
  local hour = hour_of(second)
  local changed = by_hour[hour] or { open = 0, sum = 0 }
  changed.open, changed.sum, by_hour[hour] = changed.open + number, changed.sum + sum, changed
end

-- Dead letters leave with this fate; '': they wait again. `records`: false where there is no dead letter.
function fates.count_dead_letters(names, records, fate)
  local buried_as = read_all('HMGET', BURIED_AS, names)
  for i = 1, #names do
    if records[i] then
      local second, name = sub(records[i], 1, 10), buried_as[i] or '["dead","",""]'
      fates.count(second, name, -1)
      if fate ~= '' then
        fates.count(second, '["' .. fate .. '"' .. sub(name, 8), 1)
        fates.open(second, -1, -names[i])
      end
    end
  end
end

-- The names of a text, one a line.
function fates.names(text)
  local names = {}
  for name in string.gmatch(text, '[^\n]+') do
    names[#names + 1] = name
  end
  return names
end

-- Which of the names an event has, by its position among all that were given; `groups`: '' or two bytes for each.
function fates.name_at(names, groups, position)
  if groups == '' then
    return names[1]
  end
  local high, low = byte(groups, 2 * position - 1, 2 * position)
  return names[256 * high + low]
end

local function write_counts(key, counts)
  for name, number in pairs(counts) do
    if number ~= 0 and call('HINCRBY', key, name, number) == 0 then
      call('HDEL', key, name)
    end
  end
end

-- An hour is kept while it has open events.
function fates.write()
  for key, hash in pairs(by_key) do
    write_counts(key, hash.counts)
  end
  for hour, changed in pairs(by_hour) do
    local open = call('HINCRBY', OPEN, hour, changed.open)
    local sum = call('HINCRBY', OPEN, hour .. ' sum', format('%d', changed.sum))
    if open == 0 and sum == 0 then
      call('HDEL', OPEN, hour, hour .. ' sum')
      call('EXPIRE', FATES .. hour, kept_s)
    elseif changed.open > 0 and changed.open == open then -- it had none
      call('PERSIST', FATES .. hour)
    end
  end
end
