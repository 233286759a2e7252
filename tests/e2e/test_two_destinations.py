"""Two destinations, one of them dead: the other does not notice, and the dead one gets everything when it is back.

The dead one does not answer, and hangs on to as many deliverers as it gets: the living one has everything before the
first try at the dead one comes to its end. `bench/two_destinations.py` compares its throughput with that alone.
"""

from __future__ import annotations

import time
from pathlib import Path

import lanes
from tests.conftest import RedisServer
from tests.pipeline import OTHER, Pipeline, wait_until
from workers import gate
from workers.tasks import CLAIM_EVENTS

WORKERS, SEATS = 2, 4  # SEATS of each destination in each worker
TO_THE_DEAD, TO_THE_LIVING = 2 * WORKERS * SEATS * CLAIM_EVENTS, 200
LEASE_S = 24  # a send that is not answered takes a third of it
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


def test_a_dead_destination_slows_nobody_and_gets_everything_when_it_is_back(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    config = tmp_path / "segue.toml"
    config.write_text(CONFIG)
    environment = {"SEGUE_CONFIG": str(config), "SEGUE_CONCURRENCY": str(SEATS), "SEGUE_LEASE_S": str(LEASE_S)}
    with Pipeline(redis_server.url, workers=WORKERS, threads=2 * SEATS, **environment) as pipeline:
        pipeline.faults(site_id=OTHER, timeout_before=1)
        pipeline.send(told("dead", TO_THE_DEAD), write_key="other")
        wait_until(
            lambda: lanes.stats(pipeline.redis, "dead").claims == WORKERS * SEATS, "the dead one has all its seats"
        )

        delivered_in(pipeline, "demo", "living", TO_THE_LIVING)
        held, breaker = lanes.stats(pipeline.redis, "dead"), gate.read(pipeline.redis, "dead").breaker
        wait_until(lambda: gate.read(pipeline.redis, "dead").breaker == "open", "the dead one's gate is shut")

        pipeline.faults()
        wait_until(lambda: lanes.stats(pipeline.redis, "dead").waiting == 0, "the dead one has everything")
        back, living = lanes.stats(pipeline.redis, "dead"), lanes.stats(pipeline.redis, "living")

    assert breaker == "closed", "the first tries are still under way"
    assert (held.waiting, held.delivered_total) == (TO_THE_DEAD, 0)
    assert (back.delivered_total, back.dead) == (TO_THE_DEAD, 0)
    assert (living.delivered_total, living.dead) == (TO_THE_LIVING, 0)


def delivered_in(pipeline: Pipeline, write_key: str, name: str, count: int) -> float:
    """Return the seconds from the first event sent until the living destination has them all."""
    began_at = time.monotonic()
    pipeline.send(told(name, count), write_key=write_key)
    wait_until(lambda: lanes.stats(pipeline.redis, "living").waiting == 0, "the living one has everything")
    return time.monotonic() - began_at


def told(name: str, count: int) -> list[dict[str, object]]:
    return [{"type": "track", "event": name, "userId": f"{name} {n}", "messageId": f"{name} {n}"} for n in range(count)]
