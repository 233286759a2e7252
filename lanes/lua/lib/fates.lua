-- Count what became of events: by the hour of their acceptance and in total, see lanes/fates.py. A count has a name, a JSON
-- array that begins with its fate. Beside the counts, each hour has the number of its open events, which wait or are dead
-- letters, and the sum of their sequences: one that is lost is told by it. Changes are collected, then written. Uses bulk.
local fates = { unknown = '["unknown","",""]', erased = '["forgotten","",""]' }
do
  local kept_s, most_names = 30 * 86400, 1000 -- of an hour without open events; of an hour
  local by_hour = {} -- counts, by name; open, sum
  local function fates_in(second)
    local hour = format('%d', math.floor((tonumber(second) or 0) / 3600))
    if not by_hour[hour] then
      by_hour[hour] = { counts = {}, left = most_names - call('HLEN', FATES .. hour), open = 0, sum = 0 }
    end
    return by_hour[hour], FATES .. hour
  end

  -- `second`: of acceptance, as a text or a number.
  function fates.count(second, name, number)
    local hour, key = fates_in(second)
    if not hour.counts[name] then
      if hour.left <= 0 and call('HEXISTS', key, name) == 0 then
        name = string.match(name, '^%["%l+"') .. ',"other","other"]'
      end
      hour.left = hour.left - 1
    end
    hour.counts[name] = (hour.counts[name] or 0) + number
  end

  -- `number` of events that are open from now on, less than 0: that are no longer; `sum`: of their sequences.
  function fates.open(second, number, sum)
    local hour = fates_in(second)
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

  local function add(key, name, number)
    if call('HINCRBY', key, name, number) == 0 then
      call('HDEL', key, name)
    end
  end

  local function write_counts(key, counts)
    for name, number in pairs(counts) do
      if number ~= 0 then
        add(key, name, number)
        add(FATES .. 'total', name, number)
      end
    end
  end

  -- An hour is kept while it has open events.
  function fates.write()
    for hour, changed in pairs(by_hour) do
      local key = FATES .. hour
      write_counts(key, changed.counts)
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
