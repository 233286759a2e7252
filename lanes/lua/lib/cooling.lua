-- Keys whose events wait for the cooldown of an event that finished.

-- The time until which the cooldowns of finished events make these keys wait; 0 without any. `names`: the generations of
-- COOLING_UNTIL; `run`: that of the event that waits, nil without one.
local function cooling_until(names, digests, run)
  local time = 0
  for _, name in ipairs(#digests > 0 and names or {}) do
    for _, found in ipairs(call('HMGET', name, unpack(digests))) do
      if found and not (run and sub(found, TIME_DIGITS + 1) == run) then
        time = math.max(time, tonumber(sub(found, 1, TIME_DIGITS)))
      end
    end
  end
  return time
end
