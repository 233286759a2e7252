-- Redis' clock: `now` is the time in ms, the same for the whole script, and `now_text` its digits.
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local now_text = format('%d', now)
