-- Return the accounts of a queue at one moment: see lanes/audit.py.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  'accounts', or 'open': the open events by name
-- ARGV[2]  open: the most of them
-- ARGV[2…] accounts: hours, beside those with open events
--
-- Returns  accounts: {open events there are, OPEN as a flat array, hour, its fates as a flat array, …}
--          open: {OPEN as a flat array, name, second of acceptance, …}; false when there are more than the most
-- uses bulk
local open = call('HGETALL', OPEN)
if ARGV[1] == 'accounts' then
  local there = call('HLEN', EVENT) + call('HLEN', DEAD) - call('SCARD', BLOCKING)
  local reply, is_read, hours = { there, open }, {}, { unpack(ARGV, 2) }
  for at = 1, #open, 2 do
    hours[#hours + 1] = string.match(open[at], '^%d+$')
  end
  for _, hour in ipairs(hours) do
    if not is_read[hour] then
      is_read[hour] = true
      reply[#reply + 1] = hour
      reply[#reply + 1] = call('HGETALL', FATES .. hour)
    end
  end
  return reply
end

if call('HLEN', EVENT) + call('HLEN', DEAD) > tonumber(ARGV[2]) then
  return false
end
local reply, is_named = { open }, {}
for _, key in ipairs({ EVENT, DEAD }) do
  for _, name in ipairs(call('HKEYS', key)) do
    if not is_named[name] then
      is_named[name] = true
      reply[#reply + 1] = name
      reply[#reply + 1] = sub(call('HGET', key, name), 1, 10)
    end
  end
end
return reply
