-- The ranks that the events of an append have, in one text: for each its rank, a '-', its client, and how long it waits for
-- earlier events, ms; or records.UNRANKED. They are in their order, so the last one is the greatest. None may be later than
-- now: those that are change to now, and may be out of order then. Uses clock and rank.
local OFFERED_BYTES = CLIENT_END + WAIT_DIGITS

local function offered_ranks(text)
  local is_clamped = text ~= '' and sub(text, -OFFERED_BYTES, TIME_DIGITS - OFFERED_BYTES - 1) > now_text
  -- By the digits of a wait: until when it lasts, as a number and as text; whether the event has a rank.
  local waits = setmetatable({}, {
    __index = function(made, digits)
      local wait = tonumber(digits)
      made[digits] = { at = now + (wait or 0), text = format('%d', now + (wait or 0)), is_ranked = wait ~= nil }
      return made[digits]
    end,
  })

  -- The rank of an event with the mark and the client behind it, as it is stored, and its wait.
  local function at(index)
    local wait_at = index * OFFERED_BYTES - WAIT_DIGITS + 1
    local rank, wait = sub(text, wait_at - CLIENT_END, wait_at - 1), waits[sub(text, wait_at, wait_at + WAIT_DIGITS - 1)]
    if is_clamped and sub(rank, 1, TIME_DIGITS) > now_text then
      rank = now_text .. sub(rank, TIME_DIGITS + 1)
    end
    return rank, wait
  end

  return { at = at, is_clamped = is_clamped }
end
