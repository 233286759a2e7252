-- Return the attributes of recent updates.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  how old they may be, ms
-- ARGV[2…] the digest of each person
--
-- Returns  by person, '' or what remember_attributes.lua was given last, in the caller's bytes
-- Clock    Redis' own.
-- uses clock, generations
local people, attributes = { unpack(ARGV, 2) }, {}
local names = generations(RECENT_ATTRIBUTES, ARGV[1])
for back = 2, 1, -1 do
  for i, found in ipairs(call('HMGET', names[back], unpack(people))) do
    local is_recent = found and now - sub(found, 1, TIME_DIGITS) < tonumber(ARGV[1])
    attributes[i] = is_recent and sub(found, TIME_DIGITS + 1) or attributes[i] or ''
  end
end
return attributes
