"""What the tasks do beside delivering."""

from __future__ import annotations

import time
from collections.abc import Iterator

import fakeredis
import pytest
import redis

import lanes
from lanes.keys import base
from mapping.envelope import pack
from workers import heartbeat, tasks

QUEUE = "demo"
CLAIMS = f"{base(QUEUE)}:claims"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """The store of the tasks, of the default configuration."""
    imitation = fakeredis.FakeStrictRedis()
    monkeypatch.setattr(tasks, "store", lambda: imitation)
    for cached in (tasks.gate, tasks.queues):
        cached.cache_clear()
    yield imitation
    for cached in (tasks.gate, tasks.queues):
        cached.cache_clear()


def test_a_claim_that_ends_with_an_error_is_soon_given_up(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(tasks, "work_off", fail)
    body = pack("website", {"type": "track", "event": "e", "userId": "a", "messageId": "m"})
    lanes.append(tasks.queues()[QUEUE], [lanes.NewEvent(body, ("id:a",), "m")])

    assert tasks.deliver_once(QUEUE, listening=False)

    ((name, until_ms),) = client.zrange(CLAIMS, 0, -1, withscores=True)
    assert until_ms <= time.time() * 1000 + tasks.GIVEN_UP_MS
    client.zadd(CLAIMS, {name: 0})
    assert lanes.reap(tasks.queues()[QUEUE]).events == 1
    claim = lanes.claim(tasks.queues()[QUEUE], lease_ms=1, max_events=9, max_bytes=9999, max_depth=0, poll_ms=0)
    assert [[death.by for death in event.expired_claims] for event in claim.events] == [[heartbeat.NAME]]
