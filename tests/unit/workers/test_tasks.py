"""What the tasks do beside delivering."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import fakeredis
import pytest
import redis

import lanes
from dead_letters import replay as replays
from dead_letters.query import Filter
from lanes import keys
from lanes.keys import base
from mapping.envelope import pack
from settings import Settings
from tests.logged import logged
from workers import app, heartbeat, tasks
from workers import runtime as runtimes
from workers.runtime import Runtime

QUEUE = "demo"


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """The runtime of this process, of the default configuration, over fakeredis."""
    built = Runtime.build(Settings(), fakeredis.FakeStrictRedis(), threading.Event())
    monkeypatch.setattr(runtimes, "_runtime", built)
    return built


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The tasks that were requested, with their arguments."""
    sent: list[tuple[str, ...]] = []
    monkeypatch.setattr(app.app, "send_task", lambda name, args, **_: sent.append((name, *args)))
    return sent


def append(runtime: Runtime) -> None:
    body = pack("web", {"type": "track", "event": "e", "userId": "a", "messageId": "m"})
    lanes.append(runtime.queues[QUEUE], [lanes.NewEvent(body, ("id:a",), "m")])


def test_a_sweep_returns_expired_claims_and_requests_a_deliverer(
    runtime: Runtime, requests: list[tuple[str, ...]]
) -> None:
    append(runtime)
    claim = lanes.claim(runtime.queues[QUEUE], lease_ms=1, max_events=9, max_bytes=10**6, max_depth=0, poll_ms=0)
    runtime.client.zadd(f"{base(QUEUE)}:claims", {claim.id: 0})
    runtime.client.delete(keys.WAKEUP.of(QUEUE))

    tasks.sweep()

    assert ("deliver", QUEUE) in requests
    assert lanes.stats(runtime.queues[QUEUE]).reaped_total == 1


def test_a_sweep_requests_the_check_of_dead_letters_once_in_a_while(
    runtime: Runtime, requests: list[tuple[str, ...]]
) -> None:
    tasks.sweep()
    tasks.sweep()

    assert requests.count(("retention", QUEUE)) == 1
    assert 0 < runtime.client.ttl(keys.RETENTION_DONE.of(QUEUE)) <= tasks.RETENTION_S


def test_a_replay_is_carried_on_by_one_worker_at_a_time(runtime: Runtime, requests: list[tuple[str, ...]]) -> None:
    queue = runtime.queues[QUEUE]
    dead_letter = b'{"class": "rejected", "message": "no", "faults": [], "buried_at_ms": 1}'
    append(runtime)
    claim = lanes.claim(queue, lease_ms=1000, max_events=9, max_bytes=10**6, max_depth=0, poll_ms=0)
    lanes.settle(queue, claim.id, buried=[lanes.Burial(claim.events[0].sequence, dead_letter)])
    begun = replays.begin(queue, Filter(), who="op", per_s=100)
    lock = replays.lock(queue, begun.id)

    runtime.client.set(lock, "another worker", ex=5)
    tasks.replay(QUEUE, begun.id)
    assert lanes.stats(queue).dead == 1

    runtime.client.delete(lock, keys.WAKEUP.of(QUEUE))
    tasks.replay(QUEUE, begun.id)
    assert (lanes.stats(queue).dead, lanes.stats(queue).waiting) == (0, 1)
    assert not runtime.client.exists(lock)
    assert ("deliver", QUEUE) in requests


@pytest.mark.usefixtures("runtime")
def test_an_error_of_redis_is_one_line_with_the_destination(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise redis.ConnectionError("connection refused")

    monkeypatch.setattr(tasks.deliverer, "deliver", fail)

    tasks.deliver(QUEUE)

    line = {"destination": QUEUE, "error": "ConnectionError: connection refused", "count": 1}
    assert logged(caplog) == [{"event": "redis_unavailable", **line}]


def test_a_message_that_cannot_be_sent_is_one_log_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise redis.ConnectionError("connection refused")

    monkeypatch.setattr(app.app, "send_task", fail)

    app.wake(QUEUE)

    line = {"destination": QUEUE, "error": "ConnectionError: connection refused", "count": 1}
    assert logged(caplog) == [{"event": "wakeup_lost", **line}]


def test_a_heartbeat_removes_the_workers_that_fell_silent() -> None:
    client = fakeredis.FakeStrictRedis()
    client.zadd(keys.WORKERS.name, {"silent": client.time()[0] - 60})

    assert heartbeat.send(client) == 1

    assert client.zrange(keys.WORKERS.name, 0, -1) == [heartbeat.NAME.encode()]
    assert heartbeat.count(client) == 1
    heartbeat.remove(client)
    assert heartbeat.count(client) == 0


def test_a_command_that_redis_refuses_for_one_destination_does_not_end_a_sweep(
    runtime: Runtime, requests: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = replace(runtime.queues[QUEUE], name="damaged")
    runtime.client.set(keys.CLAIMS.of("damaged"), "no sorted set")
    both = replace(
        runtime,
        destinations={"damaged": runtime.destinations[QUEUE], **runtime.destinations},
        queues={"damaged": damaged, **runtime.queues},
    )
    monkeypatch.setattr(runtimes, "_runtime", both)

    tasks.sweep()

    assert ("retention", "damaged") not in requests
    assert ("retention", QUEUE) in requests


def test_a_sweep_that_fails_for_one_destination_goes_on_with_the_next(
    runtime: Runtime, requests: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    append(runtime)
    both = replace(runtime, destinations={"broken": runtime.destinations[QUEUE], **runtime.destinations})
    monkeypatch.setattr(runtimes, "_runtime", both)

    tasks.sweep()

    assert ("retention", QUEUE) in requests
