"""A service that is down for ten minutes and comes back, in virtual time: no event is buried, and all are delivered."""

from __future__ import annotations

from datetime import UTC, datetime

import redis

import lanes
from lanes import keys
from simulator.service import Service
from tests.queues import queue_in
from tests.stories.delivery import QUEUE, SETTLE_S, Pipeline

EVENTS, PEOPLE = 600, 100
DOWN_S = 600
MOST_PROBES = 40


def test_a_service_that_was_down_for_ten_minutes_gets_every_event_when_it_is_back(redis_client: redis.Redis) -> None:
    service = Service(seed=1)
    pipeline = Pipeline(redis_client, service, "acknowledged", SETTLE_S)
    down_until = service.clock.now() + DOWN_S
    attempts: list[int] = []
    probes = 0

    def is_down() -> bool:
        nonlocal probes
        if service.clock.now() >= down_until:
            return False
        attempts[:] = [len(lines.splitlines()) for lines in redis_client.hvals(keys.ATTEMPTS.of(QUEUE))]
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
    assert set(attempts) <= {1}, "only the failures that opened the circuit breaker were attempts"
    assert down_until <= service.clock.now() < down_until + 60, "delivery continues soon after the service is back"
    assert probes < MOST_PROBES, "a service that is down gets few requests"
    for user in range(PEOPLE):
        (person,) = [person for person in service.workspace.people.values() if person.id == f"user {user}"]
        assert [event["name"] for event in person.events] == [f"e{n}" for n in range(user, EVENTS, PEOPLE)]
