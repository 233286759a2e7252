-- Record that a process runs, and remove the processes that fell silent, and those with heartbeats to come: the clock stepped
-- back since.
--
-- KEYS[1]  the running processes by the time of their last heartbeat
-- ARGV[1]  name of the process
-- ARGV[2]  the longest silence, s
-- Reply    how many processes run
-- Clock    Redis' own.
-- allow-oom
-- uses clock
call('ZREMRANGEBYSCORE', base, '-inf', now / 1000 - ARGV[2])
call('ZREMRANGEBYSCORE', base, now / 1000 + ARGV[2], '+inf')
call('ZADD', base, now / 1000, ARGV[1])
return call('ZCARD', base)
