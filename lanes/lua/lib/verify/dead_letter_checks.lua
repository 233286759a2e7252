-- What is checked of a dead letter: it has a record and a failure, is found by its keys, and blocks while it is an event.
-- Uses verify/violations and verify/checked_values.

-- The member of DEAD_KEYS by which a key finds a dead letter.
local function member_of(digest, name)
  return digest .. format('%0' .. SEQUENCE_DIGITS .. 'd', name)
end

-- Each dead letter is found by each of its keys.
local function check_keys(name)
  local record = tonumber(name) and call('HGET', DEAD, name)
  for key, digest in ipairs(record and digests_of(record) or {}) do
    if not call('ZSCORE', DEAD_KEYS, member_of(digest, name)) then
      report(name, 'dead_keys', format('not in :dead_keys by its key %d', key - 1))
    end
  end
end

-- A member of DEAD_KEYS is that of a key of a dead letter.
local function check_dead_key(member)
  local digest, name = sub(member, 1, DIGEST_BYTES), format('%d', tonumber(sub(member, DIGEST_BYTES + 1)) or 0)
  local record = call('HGET', DEAD, name)
  local has_key = record and number_of(digest, digests_of(record) or {})
  if call('ZSCORE', DEAD_KEYS, member) and not (has_key and member == member_of(digest, name)) then
    report(member, 'dead_keys', format('in :dead_keys, but the dead letter %s %s', name, record and 'has another key' or 'does not exist'))
  end
end

-- Check all of a dead letter.
local function check_dead_letter(name)
  local record, failure = call('HGET', DEAD, name), call('HGET', FAILURE, name)
  local index, blocks = call('ZSCORE', DEAD_INDEX, name), call('SISMEMBER', BLOCKING, name) == 1
  local event = call('HGET', EVENT, name)
  if record or failure or index then
    for key, found in pairs({ [DEAD] = record, [FAILURE] = failure, [DEAD_INDEX] = index }) do
      if not found then
        report(name, 'dead_letter', 'not in ' .. sub(key, #base + 1))
      end
    end
    if index and tonumber(index) ~= tonumber(name) then
      report(name, 'dead_letter', 'another sequence in :dead_index: ' .. index)
    end
  elseif blocks then
    report(name, 'dead_letter', 'in :claim:blocking, but not in :dead')
  end
  if record and not blocks and event then
    report(name, 'blocking', 'in :event, but not in :claim:blocking')
  elseif record and blocks and not event then
    report(name, 'blocking', 'in :claim:blocking, but not in :event')
  elseif record and blocks and record ~= event then
    report(name, 'blocking', 'its records in :dead and :event differ')
  end
  check_keys(name)
end
