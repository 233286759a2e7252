-- Message ids of events that were appended within the de-duplication window. An id is remembered in the generation of its
-- arrival, and found there during the three that follow. Uses clock and bulk.

local function has_fingerprint(fingerprints, fingerprint)
  local at = find(fingerprints, fingerprint, 1, true)
  while at and at % FINGERPRINT_BYTES ~= 1 do
    at = find(fingerprints, fingerprint, at + 1, true)
  end
  return at
end

-- `text`: bucket and fingerprint of each message id; `length_ms`: of a generation; `is_passed`: the events, by index, whose
-- ids are neither compared nor remembered. Return {is_duplicate, write}: the events whose id was appended before, in this
-- call too; and what writes the other ids.
local function message_ids(text, count, length_ms, is_passed)
  local sub, id_bytes, fingerprint_start = sub, BUCKET_BYTES + FINGERPRINT_BYTES, FINGERPRINT_BYTES - 1 -- read often
  local generation = math.floor(now / length_ms)
  local function seen(back)
    return SEEN .. generation - back
  end
  local buckets = {}
  for index = 1, count do
    local start = (index - 1) * id_bytes
    buckets[index] = sub(text, start + 1, start + BUCKET_BYTES)
  end
  local is_new_generation = call('EXISTS', seen(0)) == 0
  local current, older = is_new_generation and {} or read_all('HMGET', seen(0), buckets), {}
  for back = 1, GENERATIONS do
    if call('EXISTS', seen(back)) == 1 then
      older[#older + 1] = read_all('HMGET', seen(back), buckets)
    end
  end
  local added, remembered, remembered_count, is_duplicate = {}, {}, 0, {}
  for index = 1, count do
    if not is_passed[index] then
      local bucket, fingerprint = buckets[index], sub(text, index * id_bytes - fingerprint_start, index * id_bytes)
      local fingerprints = added[bucket] or current[index]
      local is_known = fingerprints and has_fingerprint(fingerprints, fingerprint)
      for back = 1, #older do
        local before = older[back][index]
        is_known = is_known or before and has_fingerprint(before, fingerprint)
      end
      if is_known then
        is_duplicate[index] = true
      else
        fingerprints = fingerprints and fingerprints .. fingerprint or fingerprint
        added[bucket] = fingerprints
        remembered[remembered_count + 1], remembered[remembered_count + 2] = bucket, fingerprints
        remembered_count = remembered_count + 2
      end
    end
  end

  local function write()
    write_all('HSET', seen(0), remembered)
    if is_new_generation then
      call('PEXPIRE', seen(0), (GENERATIONS + 2) * length_ms)
      call('UNLINK', seen(GENERATIONS + 1))
    end
  end
  return { is_duplicate = is_duplicate, write = write }
end
