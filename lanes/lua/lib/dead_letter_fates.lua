-- Count what becomes of dead letters that leave. Uses bulk and fates.

-- Dead letters leave with this fate; '': they wait again. `records`: false where there is no dead letter.
local function count_dead_letters(names, records, fate)
  local buried_as = read_all('HMGET', BURIED_AS, names)
  for i = 1, #names do
    if records[i] then
      local second, name = sub(records[i], 1, 10), buried_as[i] or '["dead","",""]'
      count_fate(second, name, -1)
      if fate ~= '' then
        count_fate(second, '["' .. fate .. '"' .. sub(name, 8), 1)
        count_open(second, -1, -names[i])
      end
    end
  end
end
