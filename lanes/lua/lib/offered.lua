-- The ranks that the events of an append have, in one text: for each its rank, a '-', its client, and how long it waits for
-- earlier events, ms; or records.UNRANKED. They are in their order, so the last one is the greatest. None may be later than
-- now. Uses clock and rank.
local OFFERED_BYTES = CLIENT_END + WAIT_DIGITS

local function offered_ranks(text)
  local is_clamped = text ~= '' and sub(text, -OFFERED_BYTES, TIME_DIGITS - OFFERED_BYTES - 1) > now_text
  local offered = {}

  -- The rank with the mark and the client behind it, as it is stored.
  function offered.rank(index)
    local at = (index - 1) * OFFERED_BYTES
    local rank = sub(text, at + 1, at + CLIENT_END)
    if is_clamped and sub(rank, 1, TIME_DIGITS) > now_text then
      return now_text .. sub(rank, TIME_DIGITS + 1)
    end
    return rank
  end

  -- By the digits of a wait: until when it lasts, as a number and as text; whether the event has a rank.
  local waits = setmetatable({}, {
    __index = function(made, digits)
      local wait = tonumber(digits)
      made[digits] = { at = now + (wait or 0), text = format('%d', now + (wait or 0)), is_ranked = wait ~= nil }
      return made[digits]
    end,
  })
  function offered.wait(index)
    return waits[sub(text, index * OFFERED_BYTES - WAIT_DIGITS + 1, index * OFFERED_BYTES)]
  end

  return offered
end
