"""A service that is dead for ten minutes and comes back, in virtual time: nothing is buried, and all of it arrives."""

from __future__ import annotations

from datetime import UTC, datetime

import redis

import lanes
from lanes.keys import base
from simulator.service import Service
from tests.queues import queue_in
from tests.stories.delivery import QUEUE, SETTLE_S, Way

EVENTS, PEOPLE = 600, 100
DEAD_S = 600
MOST_PROBES = 40


def test_a_service_that_was_dead_for_ten_minutes_gets_everything_when_it_is_back(redis_client: redis.Redis) -> None:
    service = Service(seed=1)
    way = Way(redis_client, service, "acknowledged", SETTLE_S)
    dead_until = service.clock.now() + DEAD_S
    spent: list[int] = []
    probes = 0

    def is_down() -> bool:
        nonlocal probes
        if service.clock.now() >= dead_until:
            return False
        spent[:] = [len(lines.splitlines()) for lines in redis_client.hvals(f"{base(QUEUE)}:attempts")]
        probes += 1
        return True

    way.line.is_down = is_down
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

    way.deliver(events)

    figures = lanes.stats(queue_in(redis_client, QUEUE))
    assert (figures.delivered_total, figures.dead) == (EVENTS, 0)
    assert set(spent) <= {1}, "only the failures that shut the gate were attempts"
    assert dead_until <= service.clock.now() < dead_until + 60, "it was noticed soon"
    assert probes < MOST_PROBES, "a dead service is left alone"
    for user in range(PEOPLE):
        (person,) = [one for one in service.workspace.people.values() if one.id == f"user {user}"]
        assert [event["name"] for event in person.events] == [f"e{n}" for n in range(user, EVENTS, PEOPLE)]
