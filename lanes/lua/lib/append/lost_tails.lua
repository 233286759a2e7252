-- Lanes whose last event has no record: nothing would ever free what is appended behind it. Uses bulk.

-- Return those of the last events of lanes that nothing would ever free: without predecessors they are ready or claimed,
-- unless they have no record. `links_of`: the links of each, false without; `last`: the last sequence before this call.
local function without_record(tails, links_of, last)
  local heads, others, found = {}, {}, {}
  for i = 1, #tails do
    local links = links_of[i]
    if (not links or byte(links) == 0) and tonumber(tails[i]) <= last then
      heads[#heads + 1] = tails[i]
    end
  end
  for i, is_ready in ipairs(read_all('ZMSCORE', READY, heads)) do
    others[#others + 1] = not is_ready and heads[i] or nil
  end
  for i, record in ipairs(read_all('HMGET', EVENT, others)) do -- one command for all costs less than the records
    found[#found + 1] = not record and others[i] or nil
  end
  return found
end
