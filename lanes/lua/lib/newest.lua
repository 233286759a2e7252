-- The newest time of an append, a claim or a sweep. While it is later than now, the clock has stepped back, and nothing goes
-- before what waits: by the clock before, its wait may be over and a claim own it. Uses clock.
--
-- `last_sequence`: of the last event that was accepted; `newest_now`: what NEWEST is after this script.
local newest, last_sequence = unpack(call('MGET', NEWEST, SEQ))
local is_behind = newest and newest > now_text
local newest_now = is_behind and newest or now_text
