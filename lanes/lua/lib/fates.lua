-- Count what became of events: by the hour of their acceptance and in total, see lanes/fates.py. A count has a name, a JSON
-- array that begins with its fate. Beside the counts, each hour has the number of its open events, which wait or are dead
-- letters, and the sum of their sequences: one that is lost is told by it. Changes are collected, then written. Uses bulk.
local fates = { unknown = '["unknown","",""]', erased = '["forgotten","",""]' }
do
  local kept_s, most_names = 30 * 86400, 1000 -- of an hour without open events; of a hash
  local by_hour = {} -- counts, by name; open, sum
  local function hour_of(second)
    local hour = format('%d', math.floor((tonumber(second) or 0) / 3600))
    by_hour[hour] = by_hour[hour] or { counts = {}, open = 0, sum = 0 }
    return by_hour[hour]
  end

  -- `second`: of acceptance, as a text or a number.
  function fates.count(second, name, number)
    local counts = hour_of(second).counts
    counts[name] = (counts[name] or 0) + number
  end

  -- `number` of events that are open from now on, less than 0: that are no longer; `sum`: of their sequences.
  function fates.open(second, number, sum)
    local hour = hour_of(second)
    hour.open, hour.sum = hour.open + number, hour.sum + sum
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

  local function with_another_reason(name)
    local parts = cjson.decode(name)
    return (string.gsub(cjson.encode({ parts[1], parts[2], 'other' }), '\\/', '/'))
  end

  local function write_counts(key, counts)
    local size = call('HLEN', key)
    for name, number in pairs(counts) do
      if size >= most_names and call('HEXISTS', key, name) == 0 then
        name = with_another_reason(name)
      end
      size = size + 1
      if number ~= 0 and call('HINCRBY', key, name, number) == 0 then
        call('HDEL', key, name)
      end
    end
  end

  -- An hour is kept while it has open events.
  function fates.write()
    for hour, changed in pairs(by_hour) do
      local key = FATES .. hour
      write_counts(key, changed.counts)
      write_counts(FATES .. 'total', changed.counts)
      local open = call('HINCRBY', OPEN, hour, changed.open)
      local sum = call('HINCRBY', OPEN, hour .. ' sum', format('%d', changed.sum))
      if open == 0 and sum == 0 then
        call('HDEL', OPEN, hour, hour .. ' sum')
        call('EXPIRE', key, kept_s)
      elseif changed.open > 0 then
        call('PERSIST', key)
      end
    end
  end
end
