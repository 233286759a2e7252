-- Compare the values that all processes of a queue share, or store them when the queue is new.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  the layout of keys and values that the caller knows
-- ARGV[2]  1: store the caller's values when the queue is new
-- ARGV[3…] two per value: its name, and what the caller has
--
-- Returns  {layout, name, value, …}: what is stored. Layout 0: the queue has keys but no layout; -1: its values are being
--          changed. An empty array: the queue is new, and nothing was stored.
if call('EXISTS', REGROUPING) == 1 then
  return { -1 }
end
local layout = call('GET', LAYOUT)
if layout then
  return { tonumber(layout), unpack(call('HGETALL', CONFIG)) }
end
if call('EXISTS', SEQ, EVENT, DEAD, TOTAL, SECRET) > 0 then
  return { 0 }
end
if ARGV[2] ~= '1' then
  return {}
end

call('SET', LAYOUT, ARGV[1])
call('HSET', CONFIG, unpack(ARGV, 3))
return { tonumber(ARGV[1]), unpack(ARGV, 3) }
