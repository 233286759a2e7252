-- Return the accounts of a queue at one moment: see lanes/audit.py.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  'open': the number of open events; 'names': the open events by name; 'hours': the fates of some hours
-- ARGV[2]  names: the most of them
-- ARGV[2…] hours: these
--
-- Returns  open: {open events there are, OPEN as a flat array}
--          names: {OPEN as a flat array, name, second of acceptance, …}; false when there are more than the most
--          hours: {fates of the hour as a flat array, open events by the counts, …}
-- uses bulk
if ARGV[1] == 'open' then
  return { call('HLEN', EVENT) + call('HLEN', DEAD) - call('SCARD', BLOCKING), call('HGETALL', OPEN) }
end

local reply = {}
if ARGV[1] == 'hours' then
  for at = 2, #ARGV do
    reply[#reply + 1] = call('HGETALL', FATES .. ARGV[at])
    reply[#reply + 1] = call('HGET', OPEN, ARGV[at]) or '0'
  end
  return reply
end

if call('HLEN', EVENT) + call('HLEN', DEAD) > tonumber(ARGV[2]) then
  return false
end
reply[1] = call('HGETALL', OPEN)
local is_named = {}
for _, key in ipairs({ EVENT, DEAD }) do
  local names = call('HKEYS', key)
  for i, record in ipairs(read_all('HMGET', key, names)) do
    if not is_named[names[i]] then
      is_named[names[i]] = true
      reply[#reply + 1], reply[#reply + 2] = names[i], sub(record, 1, 10)
    end
  end
end
return reply
