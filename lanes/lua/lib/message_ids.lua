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
  local sub, id_bytes, bucket_bytes = sub, BUCKET_BYTES + FINGERPRINT_BYTES, BUCKET_BYTES -- the loops read them often
  local generation, names, buckets = math.floor(now / length_ms), {}, {}
  for back = 0, GENERATIONS do
    names[back + 1] = SEEN .. format('%d', generation - back)
  end
  for index = 1, count do
    local start = (index - 1) * id_bytes
    buckets[index] = sub(text, start + 1, start + bucket_bytes)
  end
  local is_new_generation, current, older = true, {}, {}
  for _, name in ipairs(existing(names)) do
    local found = read_all('HMGET', name, buckets)
    if name == names[1] then
      is_new_generation, current = false, found
    else
      older[#older + 1] = found
    end
  end
  local added, remembered, remembered_count, is_duplicate = {}, {}, 0, {}
  for index = 1, count do
    if not is_passed[index] then
      local id_end = index * id_bytes
      local bucket, fingerprint = buckets[index], sub(text, id_end - id_bytes + bucket_bytes + 1, id_end)
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
        remembered_count = remembered_count + 2
        remembered[remembered_count - 1] = bucket
        remembered[remembered_count] = fingerprints
      end
    end
  end

  local function write()
    write_all('HSET', names[1], remembered)
    if is_new_generation then
      call('PEXPIRE', names[1], (GENERATIONS + 2) * length_ms)
      call('UNLINK', SEEN .. generation - GENERATIONS - 1)
    end
  end
  return { is_duplicate = is_duplicate, write = write }
end
