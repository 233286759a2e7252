-- The links of an event: see lanes/records.py. Uses sequences.
local NO_WAIT = string.rep('0', TIME_DIGITS) -- in place of a time

local function until_in(links)
  return sub(links, LINKS_UNTIL, FIRST_SUCCESSOR - 1)
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
