-- What is made of numbers and used again: an index of a table is cheaper than a call of a function.
--
-- `as_byte`: by number, its byte; `as_text`: by number, its digits; `start_of`: by how many digits a sequence has and the
-- number of a key, what is before the sequence in a lane and in links.

local function memo(make)
  return setmetatable({}, {
    __index = function(made, number)
      made[number] = make(number)
      return made[number]
    end,
  })
end
local as_byte = memo(char)
local as_text = memo(function(number)
  return format('%d', number)
end)
local start_of = memo(function(digits)
  return memo(function(key)
    return char(key, digits)
  end)
end)
