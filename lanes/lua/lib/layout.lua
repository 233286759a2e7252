-- How an event, its links and its lanes are stored: see lanes/records.py. The loops of append, claim and settle over
-- all events of a call read and write the same in place: a call of a function costs more than what it does.

-- The digests of a record's keys, and the position of the last byte before the body.
local function digests_of(record)
  local digests, keys_end = {}, KEY_COUNT + byte(record, KEY_COUNT) * DIGEST_BYTES
  for at = KEY_COUNT + 1, keys_end, DIGEST_BYTES do
    digests[#digests + 1] = sub(record, at, at + DIGEST_BYTES - 1)
  end
  return digests, keys_end
end

-- Which of a record's keys has this digest, from 0; nil without it.
local function key_number(record, digest)
  for i, own in ipairs(digests_of(record)) do
    if own == digest then
      return i - 1
    end
  end
end

-- Whether the event was erased while a claim owned it.
local function is_empty(record)
  return #record == KEY_COUNT + byte(record, KEY_COUNT) * DIGEST_BYTES
end

-- The sequence at a position of a value, and the position behind it.
local function sequence_at(value, at)
  local sequence_end = at + byte(value, at)
  return sub(value, at + 1, sequence_end), sequence_end + 1
end

local function sequence_text(sequence)
  return char(#sequence) .. sequence
end

-- Where links have the time until which the event waits for earlier ones, and its successors.
local UNTIL, FIRST_SUCCESSOR = 2, 2 + TIME_DIGITS
local NO_WAIT = string.rep('0', TIME_DIGITS)

local function until_in(links)
  return sub(links, UNTIL, FIRST_SUCCESSOR - 1)
end

-- In how many lanes an event waits, and its successors by the number of the key. Then the digits of the time until which
-- it waits for earlier events. `links` is false when it has none.
local function read_links(links)
  local successors, at = {}, FIRST_SUCCESSOR
  while links and at <= #links do
    local key = byte(links, at)
    successors[key], at = sequence_at(links, at + 1)
  end
  return links and byte(links) or 0, successors, links and until_in(links) or NO_WAIT
end

-- The links as they are stored; false when there is nothing to store.
local function links_text(waits, successors, until_text)
  local parts = { char(waits) .. until_text }
  for key, successor in pairs(successors) do
    parts[#parts + 1] = char(key) .. sequence_text(successor)
  end
  return (waits > 0 or #parts > 1) and table.concat(parts)
end

-- The head, the tail and the length of a lane, and by which of its keys the tail is in it.
local function read_lane(lane)
  local tail, at = sequence_at(lane, 2)
  if at > #lane then
    return tail, tail, 1, byte(lane)
  end
  local head, length_at = sequence_at(lane, at)
  return head, tail, tonumber(sub(lane, length_at)), byte(lane)
end

local function tail_of(lane)
  return sub(lane, 3, 2 + byte(lane, 2))
end

local function lane_text(head, tail, length, tail_key)
  local rest = length > 1 and sequence_text(head) .. format('%d', length) or ''
  return char(tail_key) .. sequence_text(tail) .. rest
end
