"""One rate limit for all workers: eight processes share 50 requests a second, also after a time of 429 responses.

RATE_SECONDS is the time of the measurement in seconds.
"""

from __future__ import annotations

import os

from tests.conftest import RedisServer
from tests.pipeline import Pipeline, configuration, wait_until
from workers import heartbeat

LIMIT = 50
WORKERS = 8
SECONDS = int(os.environ.get("RATE_SECONDS", "10"))
NOISE_S = 60  # other programs may slow the machine down for so long
STORM_S = 2
RECOVERY_S = 40
CONFIG = configuration(batch_items=1, delivery={"requests_per_s": LIMIT})


def test_eight_processes_keep_to_the_limit_use_it_and_return_to_it(redis_server: RedisServer) -> None:
    events = [
        {"type": "track", "event": "Seen", "userId": f"user {n}", "messageId": f"m{n}"}
        for n in range(LIMIT * (SECONDS + NOISE_S + STORM_S + RECOVERY_S))
    ]
    with Pipeline(redis_server.url, workers=WORKERS, config=CONFIG) as pipeline:
        wait_until(lambda: heartbeat.count(pipeline.redis) == WORKERS, "all workers run")
        pipeline.send(events)
        wait_until(
            lambda: most_within(SECONDS, full_seconds(pipeline)) >= 0.95 * LIMIT * SECONDS,
            f"{SECONDS} seconds in which the limit was used",
            SECONDS + NOISE_S,
        )

        pipeline.faults(status_429=1)
        wait_until(lambda: refused(pipeline) > LIMIT // 2, "the service answers 429")
        stormy_until = max(seen(pipeline)) + STORM_S
        wait_until(lambda: max(seen(pipeline)) > stormy_until, "the 429 responses lasted for STORM_S")
        cut = full_seconds(pipeline)[-1]
        pipeline.faults()
        wait_until(lambda: full_seconds(pipeline)[-1] >= 0.95 * LIMIT, "the rate has recovered", RECOVERY_S)
        counts = list(seen(pipeline).values())

    assert max(counts) <= LIMIT * 1.02
    assert cut < 0.8 * LIMIT, "fewer requests were sent when the service asked for fewer"


def seen(pipeline: Pipeline) -> dict[int, int]:
    """Return the number of requests by Unix second, the current second included."""
    seconds: dict[str, int] = pipeline.http.get(f"{pipeline.simulator_url}/_sim/seconds").json()
    return {int(second): count for second, count in seconds.items()}


def full_seconds(pipeline: Pipeline) -> list[int]:
    """Return the numbers of requests in full seconds: neither the first nor the current one."""
    return list(seen(pipeline).values())[1:-1]


def most_within(seconds: int, counts: list[int]) -> int:
    """Return the maximum over a number of consecutive seconds; 0 when there are fewer."""
    return max((sum(counts[first : first + seconds]) for first in range(len(counts) - seconds + 1)), default=0)


def refused(pipeline: Pipeline) -> int:
    """Return the number of 429 responses."""
    requests: dict[str, int] = pipeline.http.get(f"{pipeline.simulator_url}/_sim/stats").json()["requests"]
    return requests.get("429", 0)
