"""Two destinations, one of them dead: the other does not notice, and the dead one gets everything when it is back.

The dead one does not answer, so that each try at it takes as long as can be: the living one has everything before the
first of them comes to its end. `bench/two_destinations.py` compares the throughput with that of the living one alone.
"""

from __future__ import annotations

import time
from pathlib import Path

import lanes
from tests.conftest import RedisServer
from tests.pipeline import OTHER, Pipeline, wait_until
from workers import gate

EVENTS = 500
LEASE_S = 12  # a send that is not answered takes a third of it
REQUESTS_PER_S = 50
CONFIG = f"""
[sources.demo]
write_key = "demo"
destinations = ["living"]
[sources.both]
write_key = "both"
destinations = ["living", "dead"]
[destinations.living]
site_id = "demo"
api_key = "demo"
batch_items = 10
delivery.requests_per_s = {REQUESTS_PER_S}
[destinations.dead]
site_id = "{OTHER}"
api_key = "{OTHER}"
batch_items = 10
delivery.requests_per_s = {REQUESTS_PER_S}
"""


def test_a_dead_destination_slows_nobody_and_gets_everything_when_it_is_back(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    config = tmp_path / "segue.toml"
    config.write_text(CONFIG)
    environment = {"SEGUE_CONFIG": str(config), "SEGUE_LEASE_S": str(LEASE_S)}
    with Pipeline(redis_server.url, workers=2, threads=8, **environment) as pipeline:
        delivered_in(pipeline, "demo", "alone", EVENTS // 10)

        pipeline.faults(site_id=OTHER, timeout_before=1)
        delivered_in(pipeline, "both", "beside", EVENTS)
        held, breaker = lanes.stats(pipeline.redis, "dead"), gate.read(pipeline.redis, "dead").breaker
        wait_until(lambda: gate.read(pipeline.redis, "dead").breaker == "open", "the dead one's gate is shut")

        pipeline.faults()
        wait_until(lambda: lanes.stats(pipeline.redis, "dead").waiting == 0, "the dead one has everything")
        back, living = lanes.stats(pipeline.redis, "dead"), lanes.stats(pipeline.redis, "living")

    assert breaker == "closed", "the first tries are still under way"
    assert (held.waiting, held.delivered_total) == (EVENTS, 0)
    assert (back.delivered_total, back.dead) == (EVENTS, 0)
    assert (living.delivered_total, living.dead) == (EVENTS + EVENTS // 10, 0)


def delivered_in(pipeline: Pipeline, write_key: str, name: str, count: int) -> float:
    """Return the seconds from the first event sent until the living destination has them all."""
    began_at = time.monotonic()
    pipeline.send(
        ({"type": "track", "event": name, "userId": f"{name} {n}", "messageId": f"{name} {n}"} for n in range(count)),
        write_key=write_key,
    )
    wait_until(lambda: lanes.stats(pipeline.redis, "living").waiting == 0, "the living one has everything")
    return time.monotonic() - began_at
