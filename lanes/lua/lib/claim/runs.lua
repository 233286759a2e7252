-- Runs: an event with a cooldown is claimed together with its successors of the same run. Uses records, links and
-- cooldown. It also uses what claim.lua defines before its place.

local function run_due(record, own, run)
  local accepted_ms = tonumber(sub(record, 1, TIME_DIGITS))
  return due_as_head(digests_of(record), own, cooling, cooldown_ms, run, accepted_ms)
end

-- The successors of these events that are of the same run, wait for nothing else, and have waited for their own keys.
local waits_for_run = {} -- by successor: in how many lanes it waits for events that are not of its run and in this claim
local function run_mates(names, run_of)
  local candidates, free = {}, {}
  read_links_of(names)
  for _, name in ipairs(names) do
    local _, behind = read_links(links_of[name])
    for _, successor in pairs(behind) do
      local own, run = read_cooldown(call('HGET', COOLDOWN, successor))
      if run and run == run_of[name] then
        local waits, _, until_text = read_links(call('HGET', LINKS, successor))
        waits_for_run[successor] = (waits_for_run[successor] or waits) - 1
        if waits_for_run[successor] == 0 and until_text <= now_text then
          run_of[successor], candidates[#candidates + 1] = run, { name = successor, own = own, run = run }
        end
      end
    end
  end
  for _, candidate in ipairs(candidates) do
    local record = call('HGET', EVENT, candidate.name)
    local due = record and run_due(record, candidate.own, candidate.run)
    if due and due <= now then
      free[#free + 1] = candidate.name
    end
  end
  return free
end

-- Take the runs of events that were ready. Return those behind them.
local function take_runs(names)
  local found, with_run, run_of, all = call('HMGET', COOLDOWN, unpack(names)), {}, {}, {}
  for i, name in ipairs(names) do
    local _, run = read_cooldown(found[i])
    run_of[name], with_run[#with_run + 1] = run, run and name or nil
  end
  while #with_run > 0 and taken_count < allowed do
    local mates = run_mates(with_run, run_of)
    with_run = #mates > 0 and take(mates) or {}
    for _, name in ipairs(with_run) do
      all[#all + 1] = name
    end
  end
  return all
end
