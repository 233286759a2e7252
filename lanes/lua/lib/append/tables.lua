-- Redis keeps a small key as a list that is searched from its start, which is slow for hundreds of values a call; one long
-- value makes a table of it. Claims empty READY again and again: there it is worth it for many events. Uses bulk.
local is_list = {} -- by key, whether one long value is written for a moment

-- Read which keys do not exist yet. `values_of`: by key, what is to be written there.
local function decide_tables(values_of)
  for key, values in pairs(values_of) do
    is_list[key] = #values > (key == READY and 64 or 0) and call('EXISTS', key) == 0
  end
end

-- Write these values with the command `write`; `remove`: the command that removes the long value again.
local function write_table(write, remove, key, values)
  local long = is_list[key] and string.rep('-', 65)
  if long then
    call(write, key, write == 'ZADD' and 0 or long, long)
  end
  write_all(write, key, values)
  if long then
    call(remove, key, long)
  end
end
