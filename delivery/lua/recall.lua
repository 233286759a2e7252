-- Return what updates said of people lately.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  how long ago at most, ms
-- ARGV[2…] the digest of each person
--
-- Returns  by person, '' or what was noted last (note.lua), the caller's bytes
-- Clock    Redis' own.
local TIME = 13
local time = redis.call('TIME')
local now, length, people, said = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[1]), { unpack(ARGV, 2) }, {}
for back = 1, 0, -1 do
  local name = KEYS[1] .. ':recent_attributes:' .. string.format('%d', math.floor(now / length) - back)
  for i, noted in ipairs(redis.call('HMGET', name, unpack(people))) do
    local is_recent = noted and now - string.sub(noted, 1, TIME) < length
    said[i] = is_recent and string.sub(noted, TIME + 1) or said[i] or ''
  end
end
return said
