-- Commands on any number of names or values. Lua passes some 8,000 arguments to a call at most.
local ARGUMENTS = 4000

-- The reply of a command that returns one value for each name.
local function read_all(command, key, names)
  if #names == 0 then
    return {}
  end
  local found = call(command, key, unpack(names, 1, math.min(ARGUMENTS, #names)))
  for first = ARGUMENTS + 1, #names, ARGUMENTS do
    for i, value in ipairs(call(command, key, unpack(names, first, math.min(first + ARGUMENTS - 1, #names)))) do
      found[first + i - 1] = value
    end
  end
  return found
end

-- Those of these keys that exist. Often all of them do, or only the first ones.
local function existing(names)
  local found, count = {}, call('EXISTS', unpack(names))
  for _, name in ipairs(count < #names and names or {}) do
    if #found < count and call('EXISTS', name) == 1 then
      found[#found + 1] = name
    end
  end
  return count < #names and found or names
end

-- By name, whether these keys exist. Usually none of them does, and one command tells it.
local function which_exist(names)
  local exists = {}
  for _, name in ipairs(call('EXISTS', unpack(names)) > 0 and names or {}) do
    exists[name] = call('EXISTS', name) == 1
  end
  return exists
end

local function write_all(command, key, values)
  for first = 1, #values, ARGUMENTS do
    call(command, key, unpack(values, first, math.min(first + ARGUMENTS - 1, #values)))
  end
end
