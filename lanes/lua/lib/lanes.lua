-- The text of a lane: see lanes/records.py. Uses sequences.

-- The head, the tail and the length of a lane, and by which of its keys the tail is in it.
local function read_lane(lane)
  local tail, at = sequence_at(lane, 2)
  if at > #lane then
    return tail, tail, 1, byte(lane)
  end
  local head, length_at = sequence_at(lane, at)
  return head, tail, tonumber(sub(lane, length_at)), byte(lane)
end

local function lane_text(head, tail, length, tail_key)
  local rest = length > 1 and sequence_text(head) .. format('%d', length) or ''
  return char(tail_key) .. sequence_text(tail) .. rest
end
