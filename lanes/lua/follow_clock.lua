-- Follow the clock of Redis when it has stepped since the last call, as after a failover: what was to come is to come after
-- the same time. So nothing waits for the clock, and no lease ends while its holder works. Ranks of before a step back are
-- forgotten.
--
-- KEYS[1]  base name of the queue
-- ARGV[1]  by how many ms the clock stepped forward since the caller's last call, as far as the caller knows; 0: it did not,
--          '' in the first call
-- ARGV[2]  lease of a claim, ms
--
-- Returns  by how many ms it stepped, less than 0: back; 0 usually, and when another caller has followed already
-- Clock    Redis' own.
-- allow-oom
-- uses clock, newest, bulk, rank
local STEP_MS, LONGEST_LOCK_MS, PAGE = 1000, 25000, 1000
-- Fields of ADMISSION, and the unit of each in ms.
local TIMES = { turn = 1000, rate_at = 1000, probe_at = 1, cut_at = 1, wait_until = 1, since = 1, reason_at = 1, throttled_at = 1 }
local LOCKS = { RETENTION_DONE, SAMPLED, REPLAY_LOCK, SPILL_LOCK, DRAIN_LOCK, ERASING_LOCK }

---- Read and decide ----

local last, step = tonumber(call('GET', CLOCK) or now), tonumber(ARGV[1]) or 0
local is_back = last - now > STEP_MS
step = is_back and now - last or step
local ranks = is_behind and rank_keys(now - RANK_GENERATION_MS) or {}

local function finish()
  if #ranks > 0 then
    call('DEL', unpack(ranks))
  end
  call('SET', NEWEST, now_text)
end

if not is_back and (step <= STEP_MS or last > now - step + STEP_MS) then
  if ARGV[1] ~= '' then -- else another caller may know of a step forward
    call('SET', CLOCK, now_text)
  end
  finish()
  return 0
end

-- The times that are moved: after a step back all that are to come, after one forward those that it made come. Times that
-- were set after the step are not among these.
local first, past = is_back and now or last, is_back and math.huge or last + step
local function is_moved(ms)
  return ms > first and ms < past
end

local ready = call('ZRANGEBYSCORE', READY, '(' .. first, is_back and '+inf' or '(' .. past, 'WITHSCORES')
for at = 1, #ready, 2 do
  ready[at], ready[at + 1] = ready[at + 1] + step, ready[at]
end

local leases = {}
for _, claim in ipairs(call('ZRANGEBYSCORE', CLAIMS, '(' .. (is_back and now + ARGV[2] or last), '+inf')) do
  leases[#leases + 1], leases[#leases + 2] = now + ARGV[2], claim
end

local admission = {}
for field, unit in pairs(TIMES) do
  local time = tonumber(call('HGET', ADMISSION, field) or nil)
  if time and is_moved(time / unit) then
    admission[#admission + 1], admission[#admission + 2] = field, format('%d', time + step * unit)
  end
end

-- Until when events that are blocked wait for earlier ones. After a step forward they need not wait any more.
local links, cursor, latest = {}, '0', format('%013d', now + LONGEST_WAIT_MS)
repeat
  local page = is_back and call('HSCAN', LINKS, cursor, 'COUNT', PAGE) or { '0', {} }
  cursor = page[1]
  for at = 1, #page[2], 2 do
    local name, value = page[2][at], page[2][at + 1]
    local until_text = sub(value, 2, 1 + TIME_DIGITS)
    if until_text > latest then
      links[#links + 1] = name
      links[#links + 1] = sub(value, 1, 1) .. format('%013d', until_text + step) .. sub(value, 2 + TIME_DIGITS)
    end
  end
until cursor == '0'

---- Write. Removing comes first, see settle.lua ----

finish()
if is_back then
  call('DEL', WAKEUP, ACQUIRED)
  for _, lock in ipairs(LOCKS) do
    if call('PTTL', lock) > LONGEST_LOCK_MS then
      call('PEXPIRE', lock, LONGEST_LOCK_MS)
    end
  end
end
write_all('ZADD', READY, ready)
write_all('ZADD', CLAIMS, leases)
write_all('HSET', ADMISSION, admission)
write_all('HSET', LINKS, links)
call('SET', CLOCK, now_text)
return step
