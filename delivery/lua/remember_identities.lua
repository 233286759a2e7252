-- Remember which people were merged and which were deleted, so that a late event recreates none of them. The attribute clocks
-- of merged people are merged; those of people who are deleted, or suppressed no more, end.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  for how long, ms (up to twice that)
-- ARGV[2…] four per change: 'merged', digest of the secondary, digest, `t` for a trusted source and JSON of the primary,
--          time of the merge as a client time (attribute_clocks.lua); 'deleted', digest of the person, time of the deletion
--          in ms, ''; or 'back', digest of the person, '', ''
--
-- Returns  1
-- Clock    Redis' own.
-- allow-oom
-- uses clock, generations, bulk, staged, attribute_clocks
local length_ms = math.max(tonumber(ARGV[1]), 1000)
local merged, deleted = generations(MERGED, length_ms), generations(DELETED, length_ms)
local is_used = {}

local function set(names, digest, value)
  put(names[1], digest, value)
  is_used[names[1]] = true
end

local function unset(names, digest)
  put(names[1], digest, false)
  put(names[2], digest, false)
end

local function is_set(names, digest, value)
  return get(names[1], digest) == value or get(names[2], digest) == value
end

local people = {}
for at = 2, #ARGV, 4 do
  people[#people + 1] = ARGV[at + 1]
  people[#people + 1] = ARGV[at] == 'merged' and sub(ARGV[at + 2], 1, DIGEST_BYTES) or nil
end
read_clocks(people)

for at = 2, #ARGV, 4 do
  local what, digest, value, time = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  if what == 'merged' then
    local primary = sub(value, 1, DIGEST_BYTES)
    if not is_set(merged, digest, value) then -- else a merge that is sent again
      merge_clocks(owner_of(digest), owner_of(primary), time)
    end
    unset(merged, primary)
    set(merged, digest, value)
  else
    clear_clock(owner_of(digest))
    clear_clock(digest)
    if what == 'deleted' then
      set(deleted, digest, value)
    else -- what was sent while the person was suppressed had no effect
      unset(deleted, digest)
    end
  end
end

flush()
write_clocks()
for name in pairs(is_used) do
  call('PEXPIRE', name, 2 * length_ms)
end
return 1
