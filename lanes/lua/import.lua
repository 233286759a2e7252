-- Add dead letters from elsewhere. A letter keeps its sequence unless something else has it; one that is there is left.
--
-- KEYS[1]  base name of the queue
-- ARGV[…]  three per letter: its sequence or '', its record, the letter
--
-- Returns  how many were added
local base = KEYS[1]
local DEAD, ACCEPTED_AT = base .. ':dead', 13

local function is_there(name, record)
  local known = redis.call('HGET', DEAD, name)
  return known and string.sub(known, 1, ACCEPTED_AT) == string.sub(record, 1, ACCEPTED_AT)
end

local function own(name)
  if name == '' or redis.call('HEXISTS', DEAD, name) == 1 or redis.call('HEXISTS', base .. ':event', name) == 1 then
    return string.format('%d', redis.call('INCR', base .. ':seq'))
  end
  if tonumber(name) > tonumber(redis.call('GET', base .. ':seq') or 0) then
    redis.call('SET', base .. ':seq', name)
  end
  return name
end

local added = 0
for at = 1, #ARGV, 3 do
  if ARGV[at] == '' or not is_there(ARGV[at], ARGV[at + 1]) then
    local name = own(ARGV[at])
    redis.call('HSET', DEAD, name, ARGV[at + 1])
    redis.call('HSET', base .. ':failure', name, ARGV[at + 2])
    redis.call('ZADD', base .. ':dead_index', name, name)
    added = added + 1
  end
end
return added
