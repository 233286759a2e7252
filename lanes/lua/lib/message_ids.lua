-- Message ids of events that were appended within the de-duplication window. An id is remembered in the generation of its
-- arrival, and found there during the three that follow. Uses clock and bulk.

local function has_fingerprint(fingerprints, fingerprint)
  local at = find(fingerprints, fingerprint, 1, true)
  while at and at % FINGERPRINT_BYTES ~= 1 do
    at = find(fingerprints, fingerprint, at + 1, true)
  end
  return at
end

-- `text`: bucket and fingerprint of each message id; `length_ms`: of a generation; `is_fresh`: by index, of events whose ids
-- are neither compared nor remembered. Return {fresh, duplicates, write}: the indexes of the events whose id was not
-- appended before, nor in this call, and of the others; and what writes the ids of the first.
local function message_ids(text, count, length_ms, is_fresh)
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
  local added, remembered, remembered_count = {}, {}, 0
  local fresh, fresh_count, duplicates = {}, 0, {}
  for index = 1, count do
    local is_new = is_fresh[index]
    if is_new == nil then
      local id_end = index * id_bytes
      local bucket, fingerprint = buckets[index], sub(text, id_end - id_bytes + bucket_bytes + 1, id_end)
      local fingerprints = added[bucket] or current[index]
      local is_known = fingerprints and has_fingerprint(fingerprints, fingerprint)
      for back = 1, #older do
        local before = older[back][index]
        is_known = is_known or before and has_fingerprint(before, fingerprint)
      end
      is_new = not is_known
      if is_new then
        fingerprints = fingerprints and fingerprints .. fingerprint or fingerprint
        added[bucket] = fingerprints
        remembered_count = remembered_count + 2
        remembered[remembered_count - 1] = bucket
        remembered[remembered_count] = fingerprints
      end
    end
    if is_new then
      fresh_count = fresh_count + 1
      fresh[fresh_count] = index
    else
      duplicates[#duplicates + 1] = index
    end
  end

  local function write()
    write_all('HSET', names[1], remembered)
    if is_new_generation then
      call('PEXPIRE', names[1], (GENERATIONS + 2) * length_ms)
      call('UNLINK', SEEN .. generation - GENERATIONS - 1)
    end
  end
  return { fresh = fresh, duplicates = duplicates, write = write }
end
