-- Count what became of events: by the hour of their acceptance and in total, see lanes/fates.py. A count has a name, a JSON
-- array that begins with its fate. Beside the counts, each hour has the number of its open events, which wait or are dead
-- letters, and the sum of their sequences: one that is lost is told by it. Changes are collected, then written. Uses bulk.
-- The total has every name that an hour has, so it alone bounds how many names there are.
local UNKNOWN_FATE, ERASED_FATE = '["unknown","",""]', '["forgotten","",""]'
local kept_s, most_names = 30 * 86400, 1000 -- of an hour without open events; of all counts
local by_key, by_hour = {}, {} -- counts by name; open events, and the sum of their sequences
local total_size, counted_as = nil, {} -- by name, that under which it is counted

local function hour_of(second)
  return format('%d', math.floor((tonumber(second) or 0) / 3600))
end

local function bounded(name)
  if not counted_as[name] then
    total_size = total_size or call('HLEN', FATES .. 'total')
    local is_new = total_size >= most_names and call('HEXISTS', FATES .. 'total', name) == 0
    if is_new then -- with another reason
      local fate = cjson.decode(name)
      counted_as[name] = string.gsub(cjson.encode({ fate[1], fate[2], 'other' }), '\\/', '/')
    else
      counted_as[name] = name
    end
    total_size = total_size + 1
  end
  return counted_as[name]
end

local function add(key, name, number)
  local counts = by_key[key] or {}
  counts[name], by_key[key] = (counts[name] or 0) + number, counts
end

-- `second`: of acceptance, as a text or a number.
local function count_fate(second, name, number)
  name = bounded(name)
  add(FATES .. hour_of(second), name, number)
  add(FATES .. 'total', name, number)
end

-- `number` of events that are open from now on, less than 0: that are no longer; `sum`: of their sequences.
local function count_open(second, number, sum)
  local hour = hour_of(second)
  local changed = by_hour[hour] or { open = 0, sum = 0 }
  changed.open, changed.sum, by_hour[hour] = changed.open + number, changed.sum + sum, changed
end

-- The names of a text, one a line.
local function fate_names_of(text)
  local names = {}
  for name in string.gmatch(text, '[^\n]+') do
    names[#names + 1] = name
  end
  return names
end

-- Which of the names an event has, by its position among all that were given; `groups`: '' or two bytes for each.
local function fate_name_at(names, groups, position)
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
local function write_fates()
  for key, counts in pairs(by_key) do
    write_counts(key, counts)
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
