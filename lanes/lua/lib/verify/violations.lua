-- The violations of invariants that `verify` finds: three values of each, the object, the name of the invariant, and what
-- does not hold.
local violations = {}

-- Add a violation. `name`: of the object, '' for the queue.
local function report(name, invariant, text)
  violations[#violations + 1] = name
  violations[#violations + 1] = invariant
  violations[#violations + 1] = text
end
