"""An outage of the service for ten minutes, in virtual time: no event is buried, and all events arrive after it."""

from __future__ import annotations

from datetime import UTC, datetime

import redis

import lanes
from lanes.keys import base
from simulator.service import Service
from tests.queues import queue_in
from tests.stories.delivery import QUEUE, SETTLE_S, Pipeline

EVENTS, PEOPLE = 600, 100
OUTAGE_S = 600
MAX_PROBES = 40


def test_all_events_arrive_after_an_outage_of_ten_minutes(redis_client: redis.Redis) -> None:
    service = Service(seed=1)
    pipeline = Pipeline(redis_client, service, "acknowledged", SETTLE_S)
    down_until = service.clock.now() + OUTAGE_S
    attempts: list[int] = []
    probes = 0

    def is_down() -> bool:
        nonlocal probes
        if service.clock.now() >= down_until:
            return False
        attempts[:] = [len(lines.splitlines()) for lines in redis_client.hvals(f"{base(QUEUE)}:attempts")]
        probes += 1
        return True

    pipeline.transport.is_down = is_down
    events = [
        {
            "type": "track",
            "event": f"e{n}",
            "userId": f"user {n % PEOPLE}",
            "messageId": f"m{n}",
            "timestamp": datetime.now(UTC).isoformat(),
        }
        for n in range(EVENTS)
    ]

    pipeline.deliver(events)

    figures = lanes.stats(queue_in(redis_client, QUEUE))
    assert (figures.delivered_total, figures.dead) == (EVENTS, 0)
    assert set(attempts) <= {1}, "only the failures that opened the circuit breaker are attempts"
    assert down_until <= service.clock.now() < down_until + 60, "the breaker closes soon after the outage"
    assert probes < MAX_PROBES, "the service gets few requests during the outage"
    for user in range(PEOPLE):
        (person,) = [person for person in service.workspace.people.values() if person.id == f"user {user}"]
        assert [event["name"] for event in person.events] == [f"e{n}" for n in range(user, EVENTS, PEOPLE)]
