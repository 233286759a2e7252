-- Sequences inside of values: see lanes/records.py.

-- The sequence at a position of a value, and the position behind it.
local function sequence_at(value, at)
  local sequence_end = at + byte(value, at)
  return sub(value, at + 1, sequence_end), sequence_end + 1
end

local function sequence_text(sequence)
  return char(#sequence) .. sequence
end
