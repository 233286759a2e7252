-- Hash fields that are read as this script will leave them: `put` keeps a change, `get` sees it, `flush` writes all. For
-- scripts that change one event after the other; so they too read and decide first and write last. Uses bulk.
local staged = {}

local function get(key, field)
  local value = staged[key] and staged[key][field]
  if value == nil then
    return call('HGET', key, field)
  end
  return value
end

-- Set the field; `false` deletes it.
local function put(key, field, value)
  staged[key] = staged[key] or {}
  staged[key][field] = value
end

-- Set the fields of a list, `FIELD VALUE` after `FIELD VALUE`.
local function stage(key, values)
  staged[key] = staged[key] or {}
  for at = 1, #values, 2 do
    put(key, values[at], values[at + 1])
  end
end

-- Write all. Removing comes first, see settle.lua.
local function flush()
  for key, fields in pairs(staged) do
    local set, deleted = {}, {}
    for field, value in pairs(fields) do
      if value then
        set[#set + 1] = field
        set[#set + 1] = value
      else
        deleted[#deleted + 1] = field
      end
    end
    write_all('HDEL', key, deleted)
    write_all('HSET', key, set)
  end
end
