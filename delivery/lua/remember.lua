-- Remember who was merged into whom and who was deleted, so that what comes late recreates nobody.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  for how long, ms (up to twice that)
-- ARGV[2…] three per change: 'merged', digest of the person merged away, digest and JSON of who remains;
--          'deleted', digest of the person, time of the deletion in ms; or 'back', digest of the person, ''
--
-- Returns  1
-- Clock    Redis' own.
local base = KEYS[1]
local DIGEST = 8
local length_s = math.max(math.floor(ARGV[1] / 1000), 1)
local generation = math.floor(redis.call('TIME')[1] / length_s)

local function names(suffix)
  return base .. suffix .. string.format('%d', generation), base .. suffix .. string.format('%d', generation - 1)
end

local function set(suffix, field, value)
  local current = names(suffix)
  redis.call('HSET', current, field, value)
  redis.call('EXPIRE', current, 2 * length_s)
end

local function forget(suffix, field)
  for _, name in ipairs({ names(suffix) }) do
    redis.call('HDEL', name, field)
  end
end

for at = 2, #ARGV, 3 do
  local what, digest, value = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if what == 'merged' then
    forget(':merged:', string.sub(value, 1, DIGEST))
    set(':merged:', digest, value)
  elseif what == 'deleted' then
    set(':deleted:', digest, value)
  else
    forget(':deleted:', digest)
  end
end
return 1
