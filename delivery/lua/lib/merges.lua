-- Which people were merged or deleted, as remember_identities.lua remembers them. Of a merge: the digest of the primary, a
-- byte, which is TRUSTED when a trusted source asked for it, and the JSON of the primary. Of a deletion: its time, ms. Uses
-- bulk and generations.
local MOST_MERGES, TRUSTED = 20, 't'
local kept_ms = math.max(tonumber(ARGV[1]), 1000)
local merged_names, deleted_names = generations(MERGED, kept_ms), generations(DELETED, kept_ms)
local some_merged, some_deleted = call('EXISTS', unpack(merged_names)) > 0, call('EXISTS', unpack(deleted_names)) > 0
local ended = {} -- the digests of people whose merges end with this call, and by digest: true

-- Return the value of a field in the first of these hashes that has it, nil without one.
local function find_in(names, field)
  for _, name in ipairs(names) do
    local found = call('HGET', name, field)
    if found then
      return found
    end
  end
end

-- End the merges that a trusted source contradicts: it updates the person, and the merge was that of another source.
-- `digests`: of the people, in one text; `trusted`: a byte for each, '1' when an update of a trusted source names the person.
local function end_merges(digests, trusted)
  for at in string.gmatch(some_merged and trusted or '', '()1') do
    local digest = sub(digests, (at - 1) * DIGEST_BYTES + 1, at * DIGEST_BYTES)
    local stored = find_in(merged_names, digest)
    if stored and sub(stored, DIGEST_BYTES + 1, DIGEST_BYTES + 1) ~= TRUSTED then
      ended[#ended + 1], ended[digest] = digest, true
    end
  end
end

-- Return the JSON of the person that this one was merged into, '' without a merge; and the digest of that person.
local function primary_of(digest)
  local primary, is_passed = '', {}
  for _ = 1, MOST_MERGES do
    is_passed[digest] = true
    local found = not ended[digest] and find_in(merged_names, digest)
    if not found then
      return primary, digest
    end
    digest, primary = sub(found, 1, DIGEST_BYTES), sub(found, DIGEST_BYTES + 2)
    if is_passed[digest] then
      return primary, digest
    end
  end
  return primary, digest
end

-- Whether the person was merged into another one, or deleted.
local function is_gone(digest)
  return some_merged and select(2, primary_of(digest)) ~= digest or some_deleted and find_in(deleted_names, digest)
end

-- Remove the merges that ended, and the joins of their keys. `joined_ms`: how long a join lasts.
local function write_ended(joined_ms)
  for _, name in ipairs(#ended > 0 and { merged_names[1], merged_names[2] } or {}) do
    write_all('HDEL', name, ended)
  end
  for _, name in ipairs(#ended > 0 and generations(JOIN, joined_ms) or {}) do
    write_all('HDEL', name, ended)
  end
end
