"""Busy workers get SIGKILL again and again, and no event is lost.

A plain Celery queue over Redis loses messages in this test: those that a worker has received and not recorded yet. In
Segue a message is only a wake-up, and events stay in their lanes until Customer.io has answered.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest

from tests.conftest import RedisServer
from tests.pipeline import Pipeline, configuration, wait_until

EVENTS = 4000
PEOPLE = 800
KILLS = 10
CONFIG = configuration(batch_items=20)


@pytest.mark.parametrize("seed", [1, 2])
def test_ten_kills_of_busy_workers_lose_no_event_and_keep_each_person_s_order(
    redis_server: RedisServer, seed: int
) -> None:
    choice = random.Random(seed)
    events = [
        {"type": "track", "event": f"e{n}", "userId": f"user {choice.randrange(PEOPLE)}", "messageId": f"{seed}-{n}"}
        for n in range(EVENTS)
    ]
    wanted = defaultdict(list)
    for event in events:
        wanted[event["userId"]].append(event["event"])

    with Pipeline(redis_server.url, workers=3, config=CONFIG, SEGUE_LEASE_S="3") as pipeline:
        pipeline.faults(latency_ms=[50, 150], seed=seed)
        pipeline.send(events)
        for kill in range(KILLS):
            wait_until_busy(pipeline, delivered=EVENTS * kill // (2 * KILLS))
            pipeline.kill_worker(choice.randrange(len(pipeline.workers)))
            pipeline.start_worker()
        pipeline.drain(deadline_s=120)
        pipeline.assert_accounted()
        figures, journal = pipeline.stats(), pipeline.journal()

    assert (figures.accepted_total, figures.delivered_total, figures.buried_total) == (EVENTS, EVENTS, 0)
    assert figures.reaped_total > 0, "some of the killed workers had claims"
    seen = defaultdict(list)
    for entry in journal:
        operation = entry["operation"]
        seen[operation["identifiers"]["id"]].append(operation["name"])
    missing = Counter(event["event"] for event in events) - Counter(name for names in seen.values() for name in names)
    assert not missing
    for user, names in seen.items():
        assert list(dict.fromkeys(names)) == wanted[user], f"first arrivals of {user}"


def wait_until_busy(pipeline: Pipeline, delivered: int) -> None:
    """Wait until this many events are delivered and a claim is open."""

    def is_busy() -> bool:
        figures = pipeline.stats()
        return figures.claims > 0 and figures.delivered_total >= delivered

    wait_until(is_busy, "workers have claims")
