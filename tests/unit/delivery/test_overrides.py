"""What an operator sets by hand: a pause and a rate, which all workers follow from their next request on."""

from __future__ import annotations

import fakeredis
import pytest
import redis

from delivery import admission, overrides
from delivery.admission import Admission
from delivery.batching import Item, Request
from delivery.outcomes import NOT_SENT, Delivered, Outcome, Paused, Response, RetryLater
from lanes.clock import redis_ms
from tests.queues import queue_of

QUEUE = "journeys"
KEY = "segue:{journeys}:admission"
REQUEST = Request("/api/v2/entity", (Item(1, 0, "trackEvent", "event", "/api/v2/entity", b"{}"),))


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


def worker(client: redis.Redis, requests_per_s: float = 1000) -> Admission:
    return Admission(queue=queue_of(client, QUEUE), requests_per_s=requests_per_s, probe_wait_s=60, turn_s=1)


def send(by: Admission) -> Outcome:
    return by.guard(lambda _request: [Delivered()])(REQUEST)[0]


def waits_us(client: redis.Redis, configured: float) -> int:
    """Return the time from the turn of a request to the next turn."""
    turn = admission.run(queue_of(client, QUEUE), "acquire", configured, 10_000_000, 0)[0]
    return int(client.hget(KEY, "turn") or 0) - int(turn)


def test_a_paused_destination_claims_nothing_and_sends_nothing_of_what_is_claimed(client: redis.Redis) -> None:
    running = worker(client)
    assert (running.permit(), send(running)) == ("all", Delivered())

    overrides.pause(queue_of(client, QUEUE), by="jo@host", why="maintenance")

    assert running.permit() == "none"
    assert send(running) == Paused("an operator has paused the destination", NOT_SENT)
    found = overrides.read(queue_of(client, QUEUE)).pause
    assert found is not None
    assert (found.by, found.why, found.until_ms) == ("jo@host", "maintenance", None)

    assert overrides.resume(queue_of(client, QUEUE))
    assert (running.permit(), send(running)) == ("all", Delivered())
    assert not overrides.resume(queue_of(client, QUEUE))


def test_a_pause_ends_at_its_time(client: redis.Redis) -> None:
    queue = queue_of(client, QUEUE)
    overrides.pause(queue, by="jo", why="w", until_ms=redis_ms(queue.client) + 60_000)
    assert worker(client).permit() == "none"

    client.hset(KEY, "pause_until", redis_ms(queue.client) - 1)

    assert worker(client).permit() == "all"
    assert send(worker(client)) == Delivered()
    assert overrides.read(queue).pause is None


def test_another_configuration_ends_no_pause_and_no_rate(client: redis.Redis) -> None:
    queue = queue_of(client, QUEUE)
    overrides.pause(queue, by="jo", why="w")
    overrides.set_rate(queue, 5, by="jo")

    admission.begin(queue, "another set-up")

    assert worker(client).permit() == "none"
    rate = overrides.read(queue).rate
    assert rate is not None
    assert (rate.requests_per_s, rate.until_ms) == (5, None)


@pytest.mark.parametrize(("by_hand", "apart_us"), [(10, 103_092), (2000, 515)])
def test_a_running_worker_follows_a_lower_and_a_higher_rate(client: redis.Redis, by_hand: float, apart_us: int) -> None:
    queue = queue_of(client, QUEUE)
    assert waits_us(client, 100) == pytest.approx(10_309, abs=2)

    overrides.set_rate(queue, by_hand, by="jo", until_ms=redis_ms(queue.client) + 60_000)
    client.hdel(KEY, "turn")
    assert waits_us(client, 100) == pytest.approx(apart_us, abs=2)

    client.hset(KEY, "limit_until", redis_ms(queue.client) - 1)
    client.hdel(KEY, "turn")
    assert waits_us(client, 100) == pytest.approx(10_309, abs=2)
    assert overrides.read(queue).rate is None


def test_a_429_halves_the_rate_of_the_operator(client: redis.Redis) -> None:
    overrides.set_rate(queue_of(client, QUEUE), 10, by="jo")

    worker(client, 100).guard(lambda _request: [RetryLater("HTTP 429", Response(429, ""))])(REQUEST)

    assert float(client.hget(KEY, "rate")) == 5
    assert overrides.end_rate(queue_of(client, QUEUE))
    assert not overrides.end_rate(queue_of(client, QUEUE))
