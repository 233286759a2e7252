-- The newest time of an append, a claim or a sweep. While it is later than now, the clock has stepped back, and nothing goes
-- before what waits: by the clock before, its wait may be over and a claim own it. Uses clock.
local newest = call('GET', NEWEST)
local is_behind = newest and newest > now_text

local function keep_newest()
  if not is_behind then
    call('SET', NEWEST, now_text)
  end
end
