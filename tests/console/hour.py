"""An hour of figures, as workers write them."""

from __future__ import annotations

import math
import time
from typing import cast

import lanes
from lanes import keys
from series.row import AT, FIGURES, LATENCIES, packed
from series.sampling import FINE, rows


def write_hour(queue: lanes.Queue) -> None:
    """Put an hour of rows before those of the queue, with a pause. Totals may be below 0: only differences show."""
    found = rows(queue, FINE, 1)
    last = found[0] if found else dict.fromkeys(FIGURES, 0.0)
    row = dict(last) | {AT: last[AT] or time.time(), "limit_per_s": 400.0, "requests_per_s": 400.0}
    earlier = []
    for at in range(1, FINE.most):
        per_s = 60 + 25 * math.sin(at / 30) + (at * 7919 % 13)
        is_paused = 120 < at < 150
        waiting = 40 * (150 - at) if is_paused else 20 + at * 31 % 17
        row = row | {
            AT: row[AT] - FINE.step_s,
            "accepted": row["accepted"] - 10 * per_s,
            "sent": row["sent"] - (0 if is_paused else 10 * per_s),
            "filtered": row["filtered"] - 10 * (at % 3),
            "2xx": row["2xx"] - (0 if is_paused else 4 * per_s),
            LATENCIES[6]: row[LATENCIES[6]] - 9 * per_s,
            LATENCIES[8]: row[LATENCIES[8]] - per_s,
            "waiting": waiting,
            "oldest_age_s": 10.0 * (150 - at) if is_paused else 0.4 + at % 5 / 10,
        }
        earlier.append(packed(row))
    key = keys.SAMPLES.of(queue.name, FINE.name)
    if not found:
        queue.client.rpush(key, packed(last | {AT: time.time()}))
    queue.client.rpush(key, *cast(list[str], earlier))
