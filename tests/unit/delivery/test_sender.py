"""The steps around one HTTP call, and that they stand in the order that their reasons ask for."""

from __future__ import annotations

import fakeredis
import orjson
import pytest
import redis

import lanes
from delivery import log as delivery_log
from delivery.admission import FAILURES, Admission
from delivery.batching import Item, Request
from delivery.outcomes import Delivered, Outcome, Paused, Response, RetryLater
from delivery.sender import DeliveryLimits, sender
from tests.queues import queue_of

QUEUE = "journeys"
LIMITS = DeliveryLimits(lease_s=60, retry_base_s=0.0001, timeout_s=20, turn_s=5, retries_s=10)
DOWN = RetryLater("HTTP 503", Response(503, ""))
ITEM = Item(1, 0, "trackEvent", "event", "/api/v2/entity", orjson.dumps({"name": "a"}), "web:m")
REQUEST = Request("/api/v2/entity", (ITEM,))


class Expired(Exception):
    """What a test's lease check raises."""


class Steps:
    """A sender whose steps write down when they are passed; the HTTP call has these outcomes, one after the other."""

    def __init__(self, client: redis.Redis, *outcomes: Outcome) -> None:
        self.queue = queue_of(client, QUEUE)
        self.outcomes = list(outcomes)
        self.passed: list[str] = []
        self.is_stopping = False
        self.lease_s: float = 1000
        event = lanes.ClaimedEvent(1, 0, (), (), 1_000, (lanes.digest("id:jo"),), b"")
        self.recorder = delivery_log.Recorder(self.queue, lanes.Claim("c", (event,), None, 0), "worker")
        self.admission = Admission(queue=self.queue, requests_per_s=1000, probe_wait_s=60, turn_s=5)
        self.send = sender(
            self.http,
            destination="demo",
            limits=LIMITS,
            ensure_lease=self.ensure_lease,
            is_stopping=self.stopping,
            admission=self.admission,
            recorder=self.recorder,
        )

    def http(self, request: Request) -> list[Outcome]:
        assert request is REQUEST
        self.passed.append("http")
        return [self.outcomes.pop(0)]

    def ensure_lease(self, seconds: float) -> None:
        self.passed.append("lease")
        if seconds > self.lease_s:
            raise Expired

    def stopping(self) -> bool:
        self.passed.append("stop")
        return self.is_stopping

    def log(self) -> list[delivery_log.Sent]:
        self.recorder.write()
        return delivery_log.sent_for(self.queue, lanes.digest("id:jo"), 100)

    def turns(self) -> int:
        """How many requests took a turn of the rate limit."""
        return int(self.queue.client.llen(f"{self.queue.base}:admission:acquired"))


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


def test_each_attempt_checks_for_a_stop_takes_a_turn_checks_the_lease_and_is_logged(client: redis.Redis) -> None:
    steps = Steps(client, DOWN, DOWN, Delivered())

    assert steps.send(REQUEST) == [Delivered()]

    assert steps.passed == ["stop", "lease", "http"] * 3
    assert steps.turns() == 3
    assert [sent.refusal for sent in steps.log()] == [None, "HTTP 503", "HTTP 503"]


def test_a_worker_that_stops_between_two_attempts_sends_no_other(client: redis.Redis) -> None:
    steps = Steps(client, DOWN)
    http = steps.http

    def stopping_http(request: Request) -> list[Outcome]:
        steps.is_stopping = True
        return http(request)

    send = sender(
        stopping_http,
        destination="demo",
        limits=LIMITS,
        ensure_lease=steps.ensure_lease,
        is_stopping=steps.stopping,
        admission=steps.admission,
    )

    (outcome,) = send(REQUEST)

    assert isinstance(outcome, Paused)
    assert steps.passed == ["stop", "lease", "http", "stop"]
    assert steps.turns() == 1, "a turn that is not used is lost to the other workers"


def test_the_lease_is_checked_after_the_wait_for_a_turn_and_for_the_whole_http_call(client: redis.Redis) -> None:
    """A process may be stopped while it waits for its turn."""
    steps = Steps(client)
    steps.lease_s = LIMITS.timeout_s

    with pytest.raises(Expired):
        steps.send(REQUEST)

    assert steps.passed == ["stop", "lease"]
    assert (steps.turns(), steps.log()) == (1, [])


def test_a_request_that_gets_no_turn_is_neither_sent_nor_logged(client: redis.Redis) -> None:
    steps = Steps(client, RetryLater("HTTP 429", Response(429, ""), after_s=60))
    steps.send(REQUEST)
    steps.passed.clear()

    (outcome,) = steps.send(REQUEST)

    assert isinstance(outcome, Paused)
    assert outcome.after_s > 50
    assert "http" not in steps.passed
    assert len(steps.log()) == 1


def test_each_failed_attempt_counts_for_the_circuit_breaker(client: redis.Redis) -> None:
    steps = Steps(client, *[DOWN] * FAILURES)

    outcomes = [steps.send(REQUEST)[0] for _ in range(2)]

    assert isinstance(outcomes[-1], Paused), "three attempts of the first request, two of the second"
    assert steps.admission.permit() == "none"


@pytest.mark.parametrize("lease_s", [1, 3, 60, 600])
def test_waits_during_which_the_lease_is_not_extended_are_well_within_it(lease_s: float) -> None:
    limits = DeliveryLimits.within(lease_s, retry_base_s=1)

    assert limits.turn_s == min(5, lease_s / 4)
    assert limits.retries_s == min(10, lease_s / 2)
    assert limits.timeout_s == min(20, lease_s)
