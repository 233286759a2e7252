-- The record of an event: see lanes/records.py. The loops of append, claim and settle over all events of a call read the
-- same in place: a call of a function costs more than what it does.

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
