"""One rate for all workers: eight processes share a limit of 50 requests a second, and find it again after a storm.

RATE_SECONDS sets for how long it is watched.
"""

from __future__ import annotations

import os

from tests.conftest import RedisServer
from tests.pipeline import Pipeline, configuration, wait_until
from workers import heartbeat

LIMIT = 50
WORKERS = 8
SECONDS = int(os.environ.get("RATE_SECONDS", "10"))
NOISE_S = 60  # for so long others may keep the machine busy
STORM_S = 2
RECOVERY_S = 40
CONFIG = configuration(batch_items=1, delivery={"requests_per_s": LIMIT})


def test_eight_processes_keep_to_the_limit_use_it_and_find_it_again(redis_server: RedisServer) -> None:
    events = [
        {"type": "track", "event": "Seen", "userId": f"user {n}", "messageId": f"m{n}"}
        for n in range(LIMIT * (SECONDS + NOISE_S + STORM_S + RECOVERY_S))
    ]
    with Pipeline(redis_server.url, workers=WORKERS, config=CONFIG) as pipeline:
        wait_until(lambda: heartbeat.count(pipeline.redis) == WORKERS, "all workers are there")
        pipeline.send(events)
        wait_until(
            lambda: most_within(SECONDS, full_seconds(pipeline)) >= 0.95 * LIMIT * SECONDS,
            f"{SECONDS} seconds in which the limit was used",
            SECONDS + NOISE_S,
        )

        pipeline.faults(status_429=1)
        wait_until(lambda: refused(pipeline) > LIMIT // 2, "the service refuses")
        stormy_until = max(seen(pipeline)) + STORM_S
        wait_until(lambda: max(seen(pipeline)) > stormy_until, "the storm has lasted")
        cut = full_seconds(pipeline)[-1]
        pipeline.faults()
        wait_until(lambda: full_seconds(pipeline)[-1] >= 0.95 * LIMIT, "the rate is what it was", RECOVERY_S)
        counts = list(seen(pipeline).values())

    assert max(counts) <= LIMIT * 1.02
    assert cut < 0.8 * LIMIT, "fewer requests were sent when the service asked for fewer"


def seen(pipeline: Pipeline) -> dict[int, int]:
    """How many requests arrived in which second, the one under way included."""
    seconds: dict[str, int] = pipeline.http.get(f"{pipeline.simulator_url}/_sim/seconds").json()
    return {int(second): count for second, count in seconds.items()}


def full_seconds(pipeline: Pipeline) -> list[int]:
    """The counts of the seconds from end to end: neither the first one nor the one under way."""
    return list(seen(pipeline).values())[1:-1]


def most_within(seconds: int, counts: list[int]) -> int:
    """Return the most that came within so many seconds; 0 when there were fewer."""
    return max((sum(counts[first : first + seconds]) for first in range(len(counts) - seconds + 1)), default=0)


def refused(pipeline: Pipeline) -> int:
    requests: dict[str, int] = pipeline.http.get(f"{pipeline.simulator_url}/_sim/stats").json()["requests"]
    return requests.get("429", 0)
