-- The ranks that the events of an append have, in one text: how long the event waits, its client, its rank; or
-- records.UNRANKED. They are in their order, so the last one is the greatest. None may be later than now. Uses clock.
local OFFERED_BYTES, now_text = WAIT_DIGITS + CLIENT_BYTES + RANK_DIGITS, format('%d', now)

-- Return three functions of an event's index: its rank; its client; its wait, {at, text, is_ranked}: until when it lasts, as
-- a number and as text, and whether the event has a rank. Also whether a rank is replaced by now.
local function offered_ranks(text)
  local is_clamped = text ~= '' and sub(text, -RANK_DIGITS, -RANK_DIGITS + TIME_DIGITS - 1) > now_text
  local function rank(index)
    local offered = sub(text, index * OFFERED_BYTES - RANK_DIGITS + 1, index * OFFERED_BYTES)
    if is_clamped and sub(offered, 1, TIME_DIGITS) > now_text then
      return now_text .. sub(offered, TIME_DIGITS + 1)
    end
    return offered
  end
  local function client(index)
    local at = (index - 1) * OFFERED_BYTES + WAIT_DIGITS
    return sub(text, at + 1, at + CLIENT_BYTES)
  end
  local ends = setmetatable({}, {
    __index = function(made, digits)
      local wait = tonumber(digits)
      made[digits] = { at = now + (wait or 0), text = format('%d', now + (wait or 0)), is_ranked = wait ~= nil }
      return made[digits]
    end,
  })
  local function wait(index)
    local at = (index - 1) * OFFERED_BYTES
    return ends[sub(text, at + 1, at + WAIT_DIGITS)]
  end
  return rank, client, wait, is_clamped
end
