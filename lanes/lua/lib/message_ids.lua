-- Message ids of events that were appended within the de-duplication window. An id is remembered in the generation of its
-- arrival, and found there during the three that follow. Uses clock and bulk.

local function has_fingerprint(fingerprints, fingerprint)
  local at = find(fingerprints, fingerprint, 1, true)
  while at and at % FINGERPRINT_BYTES ~= 1 do
    at = find(fingerprints, fingerprint, at + 1, true)
  end
  return at
end

-- `text`: bucket and fingerprint of each message id; `length_ms`: of a generation. Return {is_duplicate, write}: whether
-- the id of an event, by index, was appended before, in this call too; and what writes those that were not.
local function message_ids(text, count, length_ms)
  local generation = math.floor(now / length_ms)
  local function seen(back)
    return SEEN .. generation - back
  end
  local buckets = {}
  for index = 1, count do
    local start = (index - 1) * (BUCKET_BYTES + FINGERPRINT_BYTES)
    buckets[index] = sub(text, start + 1, start + BUCKET_BYTES)
  end
  local is_new_generation = call('EXISTS', seen(0)) == 0
  local current, older = is_new_generation and {} or read_all('HMGET', seen(0), buckets), {}
  for back = 1, GENERATIONS do
    if call('EXISTS', seen(back)) == 1 then
      older[#older + 1] = read_all('HMGET', seen(back), buckets)
    end
  end
  local added, remembered, remembered_count = {}, {}, 0

  local function is_duplicate(index)
    local id_end = index * (BUCKET_BYTES + FINGERPRINT_BYTES)
    local bucket, fingerprint = buckets[index], sub(text, id_end - FINGERPRINT_BYTES + 1, id_end)
    for back = 1, #older do
      local fingerprints = older[back][index]
      if fingerprints and has_fingerprint(fingerprints, fingerprint) then
        return true
      end
    end
    local fingerprints = added[bucket] or current[index]
    if fingerprints and has_fingerprint(fingerprints, fingerprint) then
      return true
    end
    fingerprints = fingerprints and fingerprints .. fingerprint or fingerprint
    added[bucket] = fingerprints
    remembered[remembered_count + 1], remembered[remembered_count + 2] = bucket, fingerprints
    remembered_count = remembered_count + 2
    return false
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
