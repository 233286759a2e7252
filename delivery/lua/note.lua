-- Note what updates said of people, for those that follow.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  for how long, ms (up to twice that)
-- ARGV[2…] two per person: their digest, and what was said, the caller's bytes
--
-- Returns  1
-- Clock    Redis' own.
local time = redis.call('TIME')
local now, length = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[1])
local name, values = KEYS[1] .. ':recent_attributes:' .. string.format('%d', math.floor(now / length)), {}
for at = 2, #ARGV, 2 do
  values[at - 1], values[at] = ARGV[at], string.format('%013d', now) .. ARGV[at + 1]
end
redis.call('HSET', name, unpack(values))
redis.call('PEXPIRE', name, 2 * length)
return 1
