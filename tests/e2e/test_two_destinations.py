"""Two destinations, one of them unavailable: it does not slow the other one down.

The unavailable destination does not respond, and occupies all of its slots. The other one receives all of its events
before the first request to the unavailable one times out. `bench/two_destinations.py` compares the throughput with that
of a single destination; `test_outage.py` tests the end of an outage.
"""

from __future__ import annotations

import time

import lanes
from delivery import admission
from tests.conftest import RedisServer
from tests.pipeline import Pipeline, wait_until
from tests.queues import queue_in
from tests.secrets import CREDENTIALS_TOML, OTHER_CREDENTIALS, OTHER_CREDENTIALS_TOML
from workers.deliverer import CLAIM_EVENTS

WORKERS, SLOTS = 2, 4  # SLOTS per destination and worker
DEAD_EVENTS, LIVING_EVENTS = 2 * WORKERS * SLOTS * CLAIM_EVENTS, 200
LEASE_S = 60  # a request without a response times out after 20 s
CONFIG = f"""
[sources.demo]
write_key = "demo"
destinations = ["living"]
[sources.other]
write_key = "other"
destinations = ["dead"]
[sources.both]
write_key = "both"
destinations = ["living", "dead"]
[destinations.living]
{CREDENTIALS_TOML}batch_items = 10
delivery.requests_per_s = 50
[destinations.dead]
{OTHER_CREDENTIALS_TOML}delivery.requests_per_s = 1000
"""


def test_an_unavailable_destination_does_not_slow_the_other_one(redis_server: RedisServer) -> None:
    variables = {"SEGUE_CONCURRENCY": str(SLOTS), "SEGUE_LEASE_S": str(LEASE_S)}
    with Pipeline(redis_server.url, workers=WORKERS, threads=2 * SLOTS, config=CONFIG, **variables) as pipeline:
        pipeline.faults(site_id=OTHER_CREDENTIALS["site_id"], timeout_before=1)
        pipeline.send(events("dead", DEAD_EVENTS), write_key="other")
        wait_until(lambda: claims(pipeline) == WORKERS * SLOTS, "the unavailable destination occupies all of its slots")

        delivered_in(pipeline, "demo", "living", LIVING_EVENTS)

        living, dead = lanes.stats(queue_in(pipeline.redis, "living")), lanes.stats(queue_in(pipeline.redis, "dead"))
        breaker = admission.read(queue_in(pipeline.redis, "dead")).breaker
        while pipeline.workers:
            pipeline.kill_worker(0)  # they would wait for responses

    assert breaker == "closed", "the first requests have not timed out yet"
    assert (living.delivered_total, living.dead) == (LIVING_EVENTS, 0)
    assert (dead.waiting, dead.delivered_total, dead.dead) == (DEAD_EVENTS, 0, 0)


def claims(pipeline: Pipeline) -> int:
    """Return the number of open claims of the destination `dead`."""
    return lanes.stats(queue_in(pipeline.redis, "dead")).claims


def delivered_in(pipeline: Pipeline, write_key: str, name: str, count: int) -> float:
    """Send events; return the seconds until the destination `living` has received all of them."""
    began_at = time.monotonic()
    pipeline.send(events(name, count), write_key=write_key)
    wait_until(
        lambda: lanes.stats(queue_in(pipeline.redis, "living")).waiting == 0,
        "the destination living has received all events",
    )
    return time.monotonic() - began_at


def events(name: str, count: int) -> list[dict[str, object]]:
    return [{"type": "track", "event": name, "userId": f"{name} {n}", "messageId": f"{name} {n}"} for n in range(count)]
