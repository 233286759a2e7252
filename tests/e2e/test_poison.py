"""An event that kills whoever maps it, among the events of others: it is told apart, set aside, and nobody else is.

One process with several threads and a slow service is the hard case: whatever its other threads have under way dies
with the poison, again and again.
"""

from __future__ import annotations

from collections import defaultdict

import orjson

from lanes.keys import base
from tests.conftest import RedisServer
from tests.pipeline import QUEUE, Pipeline, wait_until
from workers.claim import MOST_EXPIRED_CLAIMS

PEOPLE = 60
POISON = "Poison"  # tests.e2e.poisoned dies of it; importing it would poison this process
EVENTS = 5  # of each person
VICTIM = 30  # the person whose middle event is the poison


def test_a_poisonous_event_becomes_a_dead_letter_and_everybody_else_is_delivered(redis_server: RedisServer) -> None:
    events = [
        {"type": "track", "userId": f"user {user}", "event": f"e{n}", "messageId": f"{user}-{n}"}
        for n in range(EVENTS)
        for user in range(PEOPLE)
    ]
    poison = next(event for event in events if event["messageId"] == f"{VICTIM}-{EVENTS // 2}")
    poison["event"] = POISON
    deaths = 0

    with Pipeline(
        redis_server.url, workers=1, app="tests.e2e.poisoned", SEGUE_LEASE_S="2", SEGUE_SWEEP_S="0.25"
    ) as pipeline:

        def is_empty() -> bool:
            nonlocal deaths
            for worker in [worker for worker in pipeline.workers if worker.poll() is not None]:
                deaths += 1
                pipeline.workers.remove(worker)
                pipeline.start_worker()
            return pipeline.stats().waiting == 0

        pipeline.faults(latency_ms=[300, 400])
        pipeline.send(events)
        wait_until(is_empty, "everything is delivered or buried")
        letters = [orjson.loads(letter) for letter in pipeline.redis.hgetall(f"{base(QUEUE)}:failure").values()]
        seen = defaultdict(list)
        for entry in pipeline.journal():
            operation = entry["operation"]
            seen[operation["identifiers"]["id"]].append(operation["name"])

    assert deaths == MOST_EXPIRED_CLAIMS
    (letter,) = letters
    assert letter["class"] == "poison"
    assert len({attempt["worker"] for attempt in letter["attempts"]}) == MOST_EXPIRED_CLAIMS
    assert letter["message"] == f"{MOST_EXPIRED_CLAIMS} workers died while they had this event"
    for user in range(PEOPLE):
        told = [f"e{n}" for n in range(EVENTS) if (user, n) != (VICTIM, EVENTS // 2)]
        assert list(dict.fromkeys(seen[f"user {user}"])) == told, f"first arrivals of user {user}"
