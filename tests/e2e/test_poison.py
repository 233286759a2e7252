"""A poison message, an event that kills the worker that maps it: it becomes a dead letter, and no other event does.

One process with several threads and a slow service is the hard case: each time, the claims of the other threads expire
together with that of the poison message.
"""

from __future__ import annotations

from collections import defaultdict

import orjson

from lanes.keys import base
from tests.conftest import RedisServer
from tests.pipeline import QUEUE, Pipeline, wait_until
from workers.claim import MOST_EXPIRED_CLAIMS

PEOPLE = 60
POISON = "Poison"  # as in tests.e2e.poisoned, which would change this process if it were imported
EVENTS = 5  # of each person
VICTIM = 30  # the person whose middle event is the poison message


def test_a_poison_message_becomes_a_dead_letter_and_all_other_events_are_delivered(redis_server: RedisServer) -> None:
    events = [
        {"type": "track", "userId": f"user {user}", "event": f"e{n}", "messageId": f"{user}-{n}"}
        for n in range(EVENTS)
        for user in range(PEOPLE)
    ]
    poison = next(event for event in events if event["messageId"] == f"{VICTIM}-{EVENTS // 2}")
    poison["event"] = POISON
    killed = 0

    with Pipeline(
        redis_server.url, workers=1, app="tests.e2e.poisoned", SEGUE_LEASE_S="2", SEGUE_SWEEP_S="0.25"
    ) as pipeline:

        def is_empty() -> bool:
            nonlocal killed
            for worker in [worker for worker in pipeline.workers if worker.poll() is not None]:
                killed += 1
                pipeline.workers.remove(worker)
                pipeline.start_worker()
            return pipeline.stats().waiting == 0

        pipeline.faults(latency_ms=[300, 400])
        pipeline.send(events)
        wait_until(is_empty, "everything is delivered or buried")
        failures = [orjson.loads(failure) for failure in pipeline.redis.hgetall(f"{base(QUEUE)}:failure").values()]
        seen = defaultdict(list)
        for entry in pipeline.journal():
            operation = entry["operation"]
            seen[operation["identifiers"]["id"]].append(operation["name"])

    assert killed == MOST_EXPIRED_CLAIMS
    (failure,) = failures
    assert failure["class"] == "poison"
    assert len({attempt["worker"] for attempt in failure["attempts"]}) == MOST_EXPIRED_CLAIMS
    assert failure["message"] == f"{MOST_EXPIRED_CLAIMS} claims of this event expired"
    for user in range(PEOPLE):
        expected = [f"e{n}" for n in range(EVENTS) if (user, n) != (VICTIM, EVENTS // 2)]
        assert list(dict.fromkeys(seen[f"user {user}"])) == expected, f"first arrivals of user {user}"
