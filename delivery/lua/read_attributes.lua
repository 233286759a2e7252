-- Return the attributes of recent updates, with the clocks by which newer ones are known.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  how old they may be, ms
-- ARGV[2…] the digest of each person
--
-- Returns  by person, two values: '' or what remember_attributes.lua was given last, in the caller's bytes; '' or the
--          clocks of the person as they are stored (attribute_clocks.lua)
-- Clock    Redis' own.
-- uses clock, generations, bulk, attribute_clocks
local people, found = { unpack(ARGV, 2) }, {}
local names, recent = generations(RECENT_ATTRIBUTES, ARGV[1]), {}
for back = 2, 1, -1 do
  for i, value in ipairs(call('HMGET', names[back], unpack(people))) do
    local is_recent = value and now - sub(value, 1, TIME_DIGITS) < tonumber(ARGV[1])
    recent[i] = is_recent and sub(value, TIME_DIGITS + 1) or recent[i] or ''
  end
end
local with_recent = {}
for i, person in ipairs(people) do
  with_recent[#with_recent + 1] = recent[i] ~= '' and person or nil
end
read_clocks(with_recent)
for i, person in ipairs(people) do
  found[2 * i - 1], found[2 * i] = recent[i], stored_clocks[person] or ''
end
return found
