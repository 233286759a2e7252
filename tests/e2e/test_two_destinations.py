"""Two destinations, one of them dead: the other does not notice.

The dead one does not answer, and hangs on to as many deliverers as it gets: the living one has everything before the
first try at the dead one comes to its end. `bench/two_destinations.py` compares its throughput with that alone, and
`test_outage.py` tells what becomes of the dead one when it is back.
"""

from __future__ import annotations

import time

import lanes
from delivery import admission
from tests.conftest import RedisServer
from tests.pipeline import OTHER, Pipeline, wait_until
from tests.queues import queue_in
from workers.tasks import CLAIM_EVENTS

WORKERS, SEATS = 2, 4  # SEATS of each destination in each worker
TO_THE_DEAD, TO_THE_LIVING = 2 * WORKERS * SEATS * CLAIM_EVENTS, 200
LEASE_S = 60  # a send that is not answered takes a third of it
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
site_id = "demo"
api_key = "demo"
batch_items = 10
delivery.requests_per_s = 50
[destinations.dead]
site_id = "{OTHER}"
api_key = "{OTHER}"
delivery.requests_per_s = 1000
"""


def test_a_dead_destination_slows_nobody(redis_server: RedisServer) -> None:
    variables = {"SEGUE_CONCURRENCY": str(SEATS), "SEGUE_LEASE_S": str(LEASE_S)}
    with Pipeline(redis_server.url, workers=WORKERS, threads=2 * SEATS, config=CONFIG, **variables) as pipeline:
        pipeline.faults(site_id=OTHER, timeout_before=1)
        pipeline.send(told("dead", TO_THE_DEAD), write_key="other")
        wait_until(lambda: claims(pipeline) == WORKERS * SEATS, "the dead one has all its seats")

        delivered_in(pipeline, "demo", "living", TO_THE_LIVING)

        living, dead = lanes.stats(queue_in(pipeline.redis, "living")), lanes.stats(queue_in(pipeline.redis, "dead"))
        breaker = admission.read(queue_in(pipeline.redis, "dead")).breaker
        while pipeline.workers:
            pipeline.kill_worker(0)  # they would wait for answers

    assert breaker == "closed", "the first tries are still under way"
    assert (living.delivered_total, living.dead) == (TO_THE_LIVING, 0)
    assert (dead.waiting, dead.delivered_total, dead.dead) == (TO_THE_DEAD, 0, 0)


def claims(pipeline: Pipeline) -> int:
    return lanes.stats(queue_in(pipeline.redis, "dead")).claims


def delivered_in(pipeline: Pipeline, write_key: str, name: str, count: int) -> float:
    """Return the seconds from the first event sent until the living destination has them all."""
    began_at = time.monotonic()
    pipeline.send(told(name, count), write_key=write_key)
    wait_until(lambda: lanes.stats(queue_in(pipeline.redis, "living")).waiting == 0, "the living one has everything")
    return time.monotonic() - began_at


def told(name: str, count: int) -> list[dict[str, object]]:
    return [{"type": "track", "event": name, "userId": f"{name} {n}", "messageId": f"{name} {n}"} for n in range(count)]
