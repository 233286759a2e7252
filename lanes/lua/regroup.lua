-- Move fields from a generation of one length to a generation of another length.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  key of the generation that is left
-- ARGV[2]  key of the generation that gets the fields
-- ARGV[3]  for how long that one is kept from now on, ms
-- ARGV[4]  a field that both have: 'newer': the moved value is kept, 'older': the other one, 'both': the fingerprints of both
-- ARGV[5…] the fields
--
-- Returns  1
-- uses bulk
local source, target, which, fields = ARGV[1], ARGV[2], ARGV[4], { unpack(ARGV, 5) }

-- The fingerprints of a bucket, with those of another one that it does not have.
local function united(fingerprints, others)
  local parts, has = { fingerprints }, {}
  for at = 1, #fingerprints, FINGERPRINT_BYTES do
    has[sub(fingerprints, at, at + FINGERPRINT_BYTES - 1)] = true
  end
  for at = 1, #others, FINGERPRINT_BYTES do
    local fingerprint = sub(others, at, at + FINGERPRINT_BYTES - 1)
    parts[#parts + 1] = not has[fingerprint] and fingerprint or nil
  end
  return table.concat(parts)
end

local moved, values = read_all('HMGET', source, fields), {}
for i, present in ipairs(read_all('HMGET', target, fields)) do
  local value = moved[i]
  if value and present and which ~= 'newer' then
    value = which == 'both' and united(present, value)
  end
  if value then
    values[#values + 1] = fields[i]
    values[#values + 1] = value
  end
end

write_all('HDEL', source, fields)
write_all('HSET', target, values)
call('PEXPIRE', target, ARGV[3])
return 1
