-- Ranks: while an event waits for earlier ones, events that happened before it are put before it. lanes/records.py says how
-- a rank is stored. Ranks are in the generation in which the wait ends. Uses clock and bulk.

-- The key of the ranks whose waits end at this time, and its generation.
local function rank_key(at_ms)
  local generation = math.floor(at_ms / RANK_GENERATION_MS)
  return RANK .. format('%d', generation), generation
end

-- The keys that exist of the generations from a time on.
local function rank_keys(first_ms)
  local names = {}
  for at = first_ms, now + LONGEST_WAIT_MS + RANK_GENERATION_MS, RANK_GENERATION_MS do
    names[#names + 1] = (rank_key(at))
  end
  return existing(names)
end
