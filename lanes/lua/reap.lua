-- Return the events of expired claims to their lanes. Each keeps a line for the claim: when its lease ended, and its id.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  most claims to reap in this call
--
-- Returns  {events returned, wake, claims reaped}: wake 1 when there is ready work for which no deliverer was requested just
--          now
-- Clock    Redis' own.
-- allow-oom
-- uses clock, bulk

---- Read and decide ----

local expired = call('ZRANGEBYSCORE', CLAIMS, '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
local claims, names, lines = {}, {}, {}
for at = 1, #expired, 2 do
  local claim, line = expired[at], format('%d %s\n', expired[at + 1], expired[at])
  claims[#claims + 1] = claim
  for _, name in ipairs(call('SMEMBERS', CLAIM .. claim)) do
    names[#names + 1], lines[#lines + 1] = name, line
  end
end
local earlier, ready, line_values = read_all('HMGET', EXPIRED_CLAIMS, names), {}, {}
for i, links in ipairs(read_all('HMGET', LINKS, names)) do
  line_values[2 * i - 1], line_values[2 * i] = names[i], (earlier[i] or '') .. lines[i]
  if not links or byte(links) == 0 then
    ready[#ready + 1], ready[#ready + 2] = now, names[i]
  end
end
local due_count = call('ZCOUNT', READY, '-inf', now) + #ready / 2

---- Write. Removing comes first, see settle.lua ----

write_all('ZREM', CLAIMS, claims)
for _, claim in ipairs(claims) do
  call('DEL', CLAIM .. claim)
end
write_all('HSET', EXPIRED_CLAIMS, line_values)
write_all('ZADD', READY, ready)
if #names > 0 then
  call('HINCRBY', TOTAL, 'reaped', #names)
end

---- Wake ----

local wake = due_count > 0 and call('SET', WAKEUP, '1', 'PX', WAKEUP_MS, 'NX')
return { #names, wake and 1 or 0, #claims }
