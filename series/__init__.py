"""Series: the figures of each destination over time, in rows of bounded number.

Each 10 s one worker writes a row of totals and gauges (`sampling`); every minute and every ten minutes a row of the
same figures goes to a coarser list. What workers count in memory (latencies, responses) they add to totals in Redis
once a second (`tally`). `reading` turns rows into rates and percentiles. `recent_events` has a few events of each name.
"""
