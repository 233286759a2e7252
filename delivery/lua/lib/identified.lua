-- What is remembered of a key: 10 digits of the time of its last update; a byte: how that treats people that do not exist;
-- 3 bytes of its partner, the identifier that was given with it; the sequence of its event. `/` and the time that this event
-- was given follow where that is an earlier one or attributes are left out; in this case also `/` and a byte for each.
--
-- An event that another one of its call overtook has a field of its own, TIME_OF its sequence: the time that it was given,
-- and in the same way its attributes. All fields are read and written at once. Uses bulk and generations.
local MODE, PARTNER, PARTNER_END, SEQUENCE = 11, 12, 14, 15
local REGISTERED = '^(%d+)/(%-?%d+)/?([01]*)$' -- from SEQUENCE on
local CREATES, UPDATES_ONLY, MERGES = 'c', 'u', 'm'
local UNKNOWN, NO_PARTNER, ANY_PARTNER = '...', '---', '***'
local TIME_OF = 'time of ' -- longer than a digest with whatever follows
local match = string.match
local identified_names -- the generations of IDENTIFIED
local remembered_of = {} -- by field: what is stored, false without it

-- Read these fields.
local function read_identified(asked)
  identified_names = generations(IDENTIFIED, TIMES_KEPT_S * 1000)
  for _, name in ipairs(identified_names) do
    local values = read_all('HMGET', name, asked)
    for i = 1, #asked do
      remembered_of[asked[i]] = remembered_of[asked[i]] or values[i]
    end
  end
end

-- Return the sequence of the event that is remembered of a key, the time that it was given, and which attributes it sends:
-- '' for all, else a byte for each.
local function registered(remembered)
  if find(remembered, '/', SEQUENCE, true) then
    return match(remembered, REGISTERED, SEQUENCE)
  end
  return sub(remembered, SEQUENCE), sub(remembered, 1, MODE - 1), ''
end

-- Return what is remembered of a key with a later time of its last update. Its event keeps the time that it was given.
local function with_time(remembered, time_s)
  local of, its_time, its_mask = registered(remembered)
  local mask = its_mask ~= '' and '/' .. its_mask or ''
  return format('%010d', time_s) .. sub(remembered, MODE, PARTNER_END) .. of .. '/' .. its_time .. mask
end

-- Return the partner of an identifier as it is remembered, else UNKNOWN.
local function known_partner(digest)
  local remembered = remembered_of[digest]
  return remembered and sub(remembered, PARTNER, PARTNER_END) or UNKNOWN
end

-- Return what is remembered of a partner: the start of its digest.
local function start_of(digest)
  return sub(digest, 1, PARTNER_END - PARTNER + 1)
end

-- Write `FIELD VALUE` after `FIELD VALUE`.
local function write_identified(values)
  if #values > 0 then
    write_all('HSET', identified_names[1], values)
    call('EXPIRE', identified_names[1], 2 * TIMES_KEPT_S)
  end
end
