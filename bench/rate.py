"""Whether eight worker processes keep to one limit, use it, and return to it after the service refused everything.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}` against a limit of 50 requests a second:

    rate.most_in_a_second   the most requests in any second of the service's clock
    rate.most_in_a_row      the most within one second, wherever that begins
    rate.used               the mean of SECONDS (30) while there is work
    rate.recovery           the seconds from the end of a storm of 429s to a second at the full rate; from its minimum
                            the rate needs 30 s

Caveat: on a machine whose cores are all busy a request may be delayed on its way and arrive together with later ones.
"""

from __future__ import annotations

import os
import time

import bench
from bench.support.embedded import pipeline
from tests.e2e.test_rate import CONFIG, LIMIT, RECOVERY_S, STORM_S, WORKERS, full_seconds, refused, seen
from tests.pipeline import wait_until
from workers import heartbeat

SECONDS = int(os.environ.get("SECONDS", "30"))
DEADLINE_S = 120.0


def main() -> None:
    """Watch the rate while there is work, and after a storm of 429s."""
    with pipeline(CONFIG, workers=WORKERS) as running:
        wait_until(lambda: heartbeat.count(running.redis) == WORKERS, "all workers run", DEADLINE_S)
        running.send(
            {"type": "track", "event": "Seen", "userId": f"user {n}", "messageId": f"m{n}"}
            for n in range(LIMIT * (SECONDS + STORM_S + RECOVERY_S + 10))
        )
        wait_until(lambda: len(seen(running)) > SECONDS + 2, "the rate was watched for long enough", DEADLINE_S)
        calm = full_seconds(running)[:SECONDS]
        stats = running.http.get(f"{running.simulator_url}/_sim/stats").json()
        bench.figure("rate.most_in_a_second", max(calm), "requests", LIMIT)
        bench.figure("rate.most_in_a_row", stats["most_requests_in_a_second"], "requests", LIMIT)
        bench.figure("rate.used", sum(calm) / len(calm), "requests/s", LIMIT)

        running.faults(status_429=1)
        wait_until(lambda: refused(running) > LIMIT // 2, "the service refuses", DEADLINE_S)
        storm_until = max(seen(running)) + STORM_S
        wait_until(lambda: max(seen(running)) > storm_until, "the storm has lasted", DEADLINE_S)
        running.faults()
        ended_at = time.monotonic()
        wait_until(lambda: full_seconds(running)[-1] >= 0.95 * LIMIT, "the rate is at its limit again", DEADLINE_S)
        bench.figure("rate.recovery", time.monotonic() - ended_at, "s")


if __name__ == "__main__":
    main()
