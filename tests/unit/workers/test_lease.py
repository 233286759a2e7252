"""A lease lasts as long as a request is in progress, and ends soon when nothing is."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import fakeredis
import pytest
import redis

import lanes
from lanes.keys import base
from mapping.envelope import pack
from tests.conftest import RedisServer
from tests.logged import logged
from tests.pipeline import wait_until
from tests.queues import queue_of
from workers.lease import Lease, LeaseLost, Leases

QUEUE = "journeys"
CLAIMS = f"{base(QUEUE)}:claims"
LEASE_S = 1.0
HOUR_S = 3600


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


def claimed(client: redis.Redis, lease_ms: int) -> lanes.Claim:
    body = pack("web", {"type": "track", "event": "e", "userId": "a", "messageId": "m"})
    lanes.append(queue_of(client, QUEUE), [lanes.NewEvent(body, ("id:a",), "m")])
    return lanes.claim(
        queue_of(client, QUEUE), lease_ms=lease_ms, max_events=9, max_bytes=10**6, max_depth=9, poll_ms=0
    )


def lease_of(client: redis.Redis, lease_ms: int, age_s: float = 0) -> Lease:
    """Return the lease of a new claim that was requested so long ago."""
    claim = claimed(client, lease_ms)
    return Lease(
        queue=queue_of(client, QUEUE), claim_id=claim.id, lease_ms=lease_ms, requested_at=time.monotonic() - age_s
    )


def ends_in_ms(client: redis.Redis) -> float:
    """Return when the lease of the only claim ends."""
    seconds, microseconds = client.time()
    ((_, ends_at),) = client.zrange(CLAIMS, 0, -1, withscores=True)
    return float(ends_at) - (seconds * 1000 + microseconds / 1000)


def expire(client: redis.Redis) -> None:
    """Return the claim's events to their lanes, as if its lease had ended."""
    client.zadd(CLAIMS, dict.fromkeys(client.zrange(CLAIMS, 0, -1), 0))
    assert lanes.reap(queue_of(client, QUEUE)).events == 1


@pytest.mark.parametrize(("age_s", "is_extended"), [(4, False), (6, True), (11, True)])
def test_a_request_begins_with_half_of_the_lease_at_least(client: redis.Redis, age_s: float, is_extended: bool) -> None:
    lease = lease_of(client, 10_000, age_s)
    client.zadd(CLAIMS, {lease.claim_id: 0})

    lease.ensure(20)

    assert (ends_in_ms(client) > 9_000) is is_extended


def test_a_claim_that_is_no_longer_ours_is_noticed_before_the_next_request(client: redis.Redis) -> None:
    lease = lease_of(client, 10_000, age_s=6)
    expire(client)

    with pytest.raises(LeaseLost):
        lease.ensure(20)


def test_a_loss_that_the_thread_noticed_stops_the_next_request_at_once(client: redis.Redis) -> None:
    """The clock of the process says that the lease has not ended."""
    lease = lease_of(client, 10_000)
    lease.ensure(20)
    expire(client)

    lease.extend_if_needed()

    with pytest.raises(LeaseLost):
        lease.ensure(20)


def test_a_lease_is_extended_only_for_the_time_of_a_request(client: redis.Redis) -> None:
    """A thread that hangs in a mapping must lose its claim, so that the event is isolated."""
    lease = lease_of(client, 10_000)
    client.zadd(CLAIMS, {lease.claim_id: 0})

    lease.extend_if_needed()
    assert ends_in_ms(client) < 0, "no request has begun"

    lease.ensure(0)
    lease.extend_if_needed()
    assert ends_in_ms(client) < 0, "the request has ended"

    lease.ensure(20)
    lease.extend_if_needed()
    assert ends_in_ms(client) > 9_000


def test_a_closed_lease_is_never_extended(client: redis.Redis) -> None:
    """A claim that was given up must expire soon."""
    lease = lease_of(client, 10_000)
    lease.ensure(20)
    lease.close()
    client.zadd(CLAIMS, {lease.claim_id: 0})

    lease.extend_if_needed()

    assert ends_in_ms(client) < 0


def test_the_thread_extends_all_open_leases_and_survives_an_error_of_redis(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    extended: list[str] = []

    def extend(_: lanes.Queue, claim_id: str, *, lease_ms: int) -> bool:
        extended.append(claim_id)
        if claim_id == "first":
            raise redis.ConnectionError("gone")
        return lease_ms == HOUR_S * 1000

    monkeypatch.setattr(lanes, "extend", extend)
    leases, queue = Leases(HOUR_S), queue_of(client, QUEUE)
    now = time.monotonic()

    with leases.open(queue, "first", now) as first, leases.open(queue, "second", now) as second:
        first.ensure(20)
        second.ensure(20)
        leases.extend(client)
    leases.extend(client)

    assert sorted(extended) == ["first", "second"]
    assert [line["error"] for line in logged(caplog, "redis_unavailable")] == ["ConnectionError: gone"]


def test_a_server_that_hangs_ends_no_lease_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    hung, other = fakeredis.FakeStrictRedis(), fakeredis.FakeStrictRedis()
    answers, extended = threading.Event(), list[str]()

    def extend(queue: lanes.Queue, claim_id: str, *, lease_ms: int) -> bool:
        if queue.client is hung:
            answers.wait()
        extended.append(claim_id)
        return lease_ms == LEASE_S * 1000

    monkeypatch.setattr(lanes, "extend", extend)
    leases, now = Leases(LEASE_S), time.monotonic()
    try:
        with (
            leases.open(queue_of(hung, QUEUE), "hung", now) as first,
            leases.open(queue_of(other, QUEUE), "other", now) as second,
        ):
            first.ensure(20)
            second.ensure(20)
            wait_until(lambda: len(extended) >= 3, "the other lease is extended several times")
            assert set(extended) == {"other"}
            answers.set()
    finally:
        answers.set()


def test_a_request_that_takes_longer_than_the_lease_keeps_its_claim(redis_client: redis.Redis) -> None:
    leases = Leases(LEASE_S)
    claim = claimed(redis_client, leases.lease_ms)
    is_over, reaped = threading.Event(), list[int]()

    def sweep() -> None:
        while not is_over.wait(LEASE_S / 10):
            reaped.append(lanes.reap(queue_of(redis_client, QUEUE)).events)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        with leases.open(queue_of(redis_client, QUEUE), claim.id, time.monotonic()) as lease:
            lease.ensure(HOUR_S)
            time.sleep(3 * LEASE_S)  # the request
            lease.ensure(HOUR_S)
    finally:
        is_over.set()
        sweeper.join()

    assert len(reaped) > 10
    assert sum(reaped) == 0


@pytest.fixture
def hold(redis_server: RedisServer) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts a process that has a request in progress under its lease."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.unit.workers.lease_holder", redis_server.url, QUEUE, str(LEASE_S)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_stopped_process_extends_nothing_and_notices_it_before_its_next_request(
    redis_client: redis.Redis, hold: Callable[[], subprocess.Popen[str]]
) -> None:
    body = pack("web", {"type": "track", "event": "e", "userId": "a", "messageId": "m"})
    lanes.append(queue_of(redis_client, QUEUE), [lanes.NewEvent(body, ("id:a",), "m")])
    process = hold()
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline().endswith("/holder\n")
    time.sleep(2 * LEASE_S)
    assert lanes.reap(queue_of(redis_client, QUEUE)).events == 0, "the lease is extended while the process runs"

    process.send_signal(signal.SIGSTOP)
    stopped_at = time.monotonic()
    wait_until(lambda: lanes.reap(queue_of(redis_client, QUEUE)).events == 1, "the lease ends")
    ended_after_s = time.monotonic() - stopped_at
    process.send_signal(signal.SIGCONT)
    process.stdin.write("\n")
    process.stdin.flush()

    assert process.stdout.readline() == "lost\n"
    assert ended_after_s < LEASE_S + 2


def test_the_events_of_a_killed_process_are_free_after_one_lease(
    redis_client: redis.Redis, hold: Callable[[], subprocess.Popen[str]]
) -> None:
    body = pack("web", {"type": "track", "event": "e", "userId": "a", "messageId": "m"})
    lanes.append(queue_of(redis_client, QUEUE), [lanes.NewEvent(body, ("id:a",), "m")])
    process = hold()
    assert process.stdout is not None
    process.stdout.readline()

    process.kill()
    killed_at = time.monotonic()
    wait_until(lambda: lanes.reap(queue_of(redis_client, QUEUE)).events == 1, "the lease ends")

    assert time.monotonic() - killed_at < LEASE_S + 2
