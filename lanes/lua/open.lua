-- Compare the values that all processes of a queue share, or store them when the queue is new.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  the layout of keys and values that the caller knows
-- ARGV[2]  1: store the caller's values when the queue is new
-- ARGV[3…] two per value: its name, and what the caller has
--
-- Returns  {layout, name, value, …}: what is stored. Layout 0: the queue has keys but no layout. An empty array: the queue
--          is new, and nothing was stored.
local base, call = KEYS[1], redis.call
local LAYOUT, CONFIG = base .. ':layout', base .. ':config'

local layout = call('GET', LAYOUT)
if not layout then
  if call('EXISTS', base .. ':seq', base .. ':event', base .. ':dead', base .. ':total', base .. ':secret') > 0 then
    return { 0 }
  end
  if ARGV[2] ~= '1' then
    return {}
  end
  call('SET', LAYOUT, ARGV[1])
  call('HSET', CONFIG, unpack(ARGV, 3))
  layout = ARGV[1]
end
return { tonumber(layout), unpack(call('HGETALL', CONFIG)) }
