"""A deliverer claims what its permit allows, isolates events that raise, and leaves slots to other destinations."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import fakeredis
import pytest
import redis

import lanes
from delivery.admission import FAILURES
from delivery.batching import Item, Request
from delivery.outcomes import Delivered, Outcome, Paused, Response, RetryLater
from lanes import keys
from lanes.keys import base
from mapping.envelope import pack
from settings import Settings
from tests.logged import logged
from workers import deliverer, heartbeat
from workers.runtime import Runtime

QUEUE = "demo"
CLAIMS = f"{base(QUEUE)}:claims"


class Api:
    """A Track API that responds as the test says, after calling `during`."""

    def __init__(self) -> None:
        self.outcome: Outcome = Delivered()
        self.requests: list[int] = []  # the number of items of each
        self.during: Callable[[], Any] = lambda: None

    def send(self, request: Request) -> list[Outcome]:
        self.requests.append(len(request.items))
        self.during()
        return [self.outcome] * len(request.items)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def runtime(api: Api) -> Iterator[Runtime]:
    """The runtime of the default configuration, over fakeredis and the Track API of the test."""
    built = Runtime.build(Settings(), fakeredis.FakeStrictRedis(), threading.Event())
    built.track_apis[QUEUE] = api  # type: ignore[index]
    yield built
    built.stopping.set()


@pytest.fixture
def wakes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The destinations for which a deliverer was requested."""
    requested: list[str] = []
    monkeypatch.setattr(deliverer, "wake", requested.append)
    return requested


def append(runtime: Runtime, *users: str) -> None:
    lanes.append(
        runtime.queues[QUEUE],
        [
            lanes.NewEvent(
                pack("web", {"type": "track", "event": "e", "userId": user, "messageId": f"m {user} {number}"}),
                (f"id:{user}",),
                f"m {user} {number}",
            )
            for number, user in enumerate(users)
        ],
    )


def make_probe_due(runtime: Runtime) -> None:
    runtime.client.hset(keys.ADMISSION.of(QUEUE), "probe_at", 0)


def stats(runtime: Runtime) -> lanes.Stats:
    return lanes.stats(runtime.queues[QUEUE])


@pytest.mark.usefixtures("wakes")
def test_a_claim_that_cannot_be_settled_expires_soon_so_that_its_event_is_isolated(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    append(runtime, "a")
    monkeypatch.setattr(lanes, "settle", fail)

    assert deliverer.deliver_once(runtime, QUEUE, polling=False).delivered

    ((name, until_ms),) = runtime.client.zrange(CLAIMS, 0, -1, withscores=True)
    assert until_ms <= time.time() * 1000 + deliverer.GIVEN_UP_MS
    assert [line["error"] for line in logged(caplog, "unhandled_exception")] == ["RuntimeError"]
    runtime.client.zadd(CLAIMS, {name: 0})
    assert lanes.reap(runtime.queues[QUEUE]).events == 1
    claim = lanes.claim(runtime.queues[QUEUE], lease_ms=1, max_events=9, max_bytes=9999, max_depth=0, poll_ms=0)
    assert [[expired.by for expired in event.expired_claims] for event in claim.events] == [[heartbeat.NAME]]


@pytest.mark.usefixtures("wakes")
def test_an_error_of_redis_is_left_to_the_task(runtime: Runtime, api: Api) -> None:
    """The claim expires by itself; extending it would fail as well."""
    append(runtime, "a")

    def fail() -> None:
        raise redis.ConnectionError("gone")

    api.during = fail

    with pytest.raises(redis.ConnectionError):
        deliverer.deliver_once(runtime, QUEUE, polling=False)


@pytest.mark.usefixtures("wakes")
def test_a_probe_claims_one_event_only(runtime: Runtime, api: Api) -> None:
    append(runtime, *(f"user {number}" for number in range(50)))
    down = RetryLater("HTTP 503", Response(503, ""))
    item = Item(1, 0, "trackEvent", "event", "/api/v2/entity", b"{}")
    for _ in range(FAILURES):
        runtime.admissions[QUEUE].guard(lambda _: [down])(Request("/api/v2/entity", (item,)))
    assert not deliverer.deliver_once(runtime, QUEUE, polling=False).delivered, "the circuit breaker is open"

    make_probe_due(runtime)
    assert deliverer.deliver_once(runtime, QUEUE, polling=False).delivered

    assert api.requests == [1]


@pytest.mark.usefixtures("wakes")
def test_an_event_that_stops_the_destination_is_not_in_the_next_probe(runtime: Runtime, api: Api) -> None:
    """A firewall may refuse the text of one event. With that event in every probe, nothing would ever be sent."""
    append(runtime, "refused")
    api.outcome = Paused("the credentials were refused (HTTP 403)", Response(403, ""))
    deliverer.deliver_once(runtime, QUEUE, polling=False)
    api.outcome = Delivered()
    append(runtime, "accepted")

    make_probe_due(runtime)
    deliverer.deliver_once(runtime, QUEUE, polling=False)

    assert (stats(runtime).delivered_total, stats(runtime).waiting) == (1, 1)
    assert runtime.admissions[QUEUE].permit() == "all"
    assert deliverer.deliver_once(runtime, QUEUE, polling=False).next_due_ms > 500


def test_a_deliverer_polls_for_more_until_nothing_came_and_frees_its_slot(
    runtime: Runtime, api: Api, wakes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "POLL_S", 0.05)
    append(runtime, "a")
    more = iter(["b", "c"])
    api.during = lambda: [append(runtime, user) for user in [next(more, "")] if user]

    deliverer.deliver(runtime, QUEUE)

    assert (stats(runtime).delivered_total, sum(api.requests)) == (3, 3)
    assert wakes == []
    slots = [runtime.slots[QUEUE].acquire(blocking=False) for _ in range(runtime.settings.concurrency + 1)]
    assert slots == [True] * runtime.settings.concurrency + [False]


def test_a_deliverer_without_a_slot_does_nothing(runtime: Runtime, api: Api) -> None:
    append(runtime, "a")
    for _ in range(runtime.settings.concurrency):
        runtime.slots[QUEUE].acquire()

    deliverer.deliver(runtime, QUEUE)

    assert api.requests == []


@pytest.mark.usefixtures("wakes")
def test_one_deliverer_of_a_destination_polls_at_a_time(runtime: Runtime) -> None:
    with runtime.poll_locks[QUEUE]:
        assert not deliverer.poll(runtime, QUEUE)


def test_a_deliverer_whose_slice_ends_requests_the_next_one(
    runtime: Runtime, wakes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "SLICE_S", 0.0)
    append(runtime, "a")

    deliverer.deliver(runtime, QUEUE)

    assert wakes == [QUEUE]
