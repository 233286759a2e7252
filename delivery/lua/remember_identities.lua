-- Remember which people were merged and which were deleted, so that a late event recreates none of them.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  for how long, ms (up to twice that)
-- ARGV[2…] three per change: 'merged', digest of the secondary, digest and JSON of the primary;
--          'deleted', digest of the person, time of the deletion in ms; or 'back', digest of the person, ''
--
-- Returns  1
-- Clock    Redis' own.
-- uses clock, generations, bulk, staged
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

for at = 2, #ARGV, 3 do
  local what, digest, value = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if what == 'merged' then
    unset(merged, sub(value, 1, DIGEST_BYTES))
    set(merged, digest, value)
  elseif what == 'deleted' then
    set(deleted, digest, value)
  else
    unset(deleted, digest)
  end
end

flush()
for name in pairs(is_used) do
  call('PEXPIRE', name, 2 * length_ms)
end
return 1
