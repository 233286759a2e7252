"""Recent events: few, bounded, and gone after an erasure."""

from __future__ import annotations

import random

import fakeredis
import pytest

from lanes import ClaimedEvent, Queue
from mapping.envelope import pack
from series import recent_events
from series.recent_events import RecentEvent, RecentEvents
from tests.queues import queue_of

LONG = random.Random(1).randbytes(5000).hex()


@pytest.fixture
def queue() -> Queue:
    return queue_of(fakeredis.FakeRedis(), "demo")


def claimed(body: bytes) -> ClaimedEvent:
    return ClaimedEvent(1, 0, 0, 0, 0, (), body)


def event(name: str, **members: object) -> ClaimedEvent:
    return claimed(pack("web", {"type": "track", "event": name, "userId": "u"} | members))


def names(queue: Queue) -> list[str]:
    return sorted(recent.event["event"] for recent in recent_events.read(queue))


def test_one_event_of_a_claim_is_kept_in_a_second(queue: Queue) -> None:
    now = [0.0]
    recent = RecentEvents(lambda: now[0])

    recent.keep(queue, [event("first")])
    recent.keep(queue, [event("too soon")])
    now[0] = 1.0
    recent.keep(queue, [event("second"), event("second")])

    assert names(queue) == ["first", "second"]
    assert next(recent_events.read(queue)) == RecentEvent("web", {"type": "track", "event": "first", "userId": "u"})


def test_a_few_of_each_name_and_a_bounded_number_of_all_are_kept(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_events, "MOST", 20)
    monkeypatch.setattr(random, "choice", lambda events: events[0])
    times = iter(range(1000))
    recent = RecentEvents(lambda: float(next(times)))

    for _ in range(100):
        recent.keep(queue, [event("often")])
    assert 2 <= len(names(queue)) <= recent_events.SLOTS
    for number in range(100):
        recent.keep(queue, [event(f"name {number}")])
    assert len(names(queue)) == 20
    (key,) = queue.client.keys("*recent_events*")
    assert queue.client.ttl(key) > 86_400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{no json",
        b"neither JSON nor Zstandard",
        pack("web", {"type": "track", "x": LONG}),
        b'{"source": "web"}',
        b'{"source": "web", "event": ["track"]}',
    ],
)
def test_what_cannot_be_kept_is_left_out(queue: Queue, body: bytes) -> None:
    RecentEvents().keep(queue, [claimed(body)])

    assert list(recent_events.read(queue)) == []


def test_an_unavailable_redis_stops_no_delivery() -> None:
    server = fakeredis.FakeServer()
    queue = queue_of(fakeredis.FakeRedis(server=server), "demo")
    server.connected = False

    RecentEvents().keep(queue, [event("lost")])


def test_they_are_removed(queue: Queue) -> None:
    RecentEvents().keep(queue, [event("one")])
    recent_events.clear(queue)

    assert not queue.client.keys("*recent_events*")
