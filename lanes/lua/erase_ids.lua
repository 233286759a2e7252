-- Remove message ids from those that are remembered: they are new again.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  length of one generation of message ids, ms
-- ARGV[2…] bucket and fingerprint of each message id, in one
--
-- Returns  how many were remembered
-- Clock    Redis' own.
-- allow-oom
-- uses clock, bulk, staged
local generation, erased = math.floor(now / ARGV[1]), 0
for i = 2, #ARGV do
  local bucket, fingerprint = sub(ARGV[i], 1, BUCKET_BYTES), sub(ARGV[i], BUCKET_BYTES + 1)
  for back = 0, GENERATIONS + 1 do
    local seen = SEEN .. generation - back
    local fingerprints, kept = get(seen, bucket) or '', {}
    for at = 1, #fingerprints, FINGERPRINT_BYTES do
      local other = sub(fingerprints, at, at + FINGERPRINT_BYTES - 1)
      kept[#kept + 1] = other ~= fingerprint and other or nil
    end
    if #kept * FINGERPRINT_BYTES < #fingerprints then
      erased = erased + 1
      put(seen, bucket, #kept > 0 and table.concat(kept))
    end
  end
end
flush()
return erased
