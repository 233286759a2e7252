-- Reads records, lanes and links as the pieces of these names do, and returns nothing when they are malformed.

-- The digests of a record's keys.
local function digests_of(record)
  local keys_end = #record >= KEY_COUNT and KEY_COUNT + byte(record, KEY_COUNT) * DIGEST_BYTES
  if not keys_end or #record < keys_end or not string.find(record, '^%d%d%d%d%d%d%d%d%d%d%d%d%d') then
    return
  end
  local digests = {}
  for at = KEY_COUNT + 1, keys_end, DIGEST_BYTES do
    digests[#digests + 1] = sub(record, at, at + DIGEST_BYTES - 1)
  end
  return digests
end

-- The sequence at a position of a value, and the position behind it.
local function sequence_at(value, at)
  local digits = byte(value, at)
  local sequence = digits and sub(value, at + 1, at + digits)
  if digits and #sequence == digits and string.find(sequence, '^%d+$') then
    return sequence, at + 1 + digits
  end
end

-- The head, the tail and the length of a lane, and by which of its keys the tail is in it.
local function read_lane(lane)
  local tail, at = sequence_at(lane, 2)
  if tail and at > #lane then
    return tail, tail, 1, byte(lane)
  end
  local head, length_at = nil, nil
  if tail then
    head, length_at = sequence_at(lane, at)
  end
  local length = head and tonumber(sub(lane, length_at))
  if length then
    return head, tail, length, byte(lane)
  end
end

-- In how many lanes an event waits, and its successors by the number of the key. `links` is false when it has none.
local function read_links(links)
  local successors, at = {}, 2 + TIME_DIGITS
  if links and not (#links >= at - 1 and find(sub(links, 2, at - 1), '^%d+$')) then
    return
  end
  while links and at <= #links do
    local successor, behind = sequence_at(links, at + 1)
    if not successor then
      return
    end
    successors[byte(links, at)], at = successor, behind
  end
  return links and (byte(links) or 0) or 0, successors
end

-- Which of these digests, those of an event, this is, from 0.
local function number_of(digest, digests)
  for i, own in ipairs(digests) do
    if own == digest then
      return i - 1
    end
  end
end
