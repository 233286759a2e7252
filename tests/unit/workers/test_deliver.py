"""One claim to its outcomes, with lanes over an imitation server and a `send` that answers as each test says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import fakeredis
import orjson
import pytest
import redis

import lanes
import mapping
from lanes.keys import base
from mapping.event import pack
from workers import deliver, retries
from workers.deliver import Lease, LeaseLost, Terms, work_off
from workers.outcomes import Answer, Delivered, Outcome, Paused, Rejected, RetryLater, Split
from workers.requests import Request

QUEUE = "journeys"
ANSWER = Answer(503, "")
TERMS = Terms(retry_base_s=0.001, timeout_s=1.0, lease_ms=60_000)


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


@pytest.fixture(scope="module")
def destination() -> mapping.Destination:
    document = {"destinations": {QUEUE: {"site_id": "s", "api_key": "k", "batch_items": 10}}}
    return mapping.destinations(document)[QUEUE]


class Service:
    """Customer.io as a test wants it: remembers what it was sent, answers by the name of each operation."""

    def __init__(self, **answers: Outcome | Callable[[], Outcome]) -> None:
        self.answers = answers
        self.requests: list[list[str]] = []

    def __call__(self, request: Request) -> list[Outcome]:
        names = [item.operation.body["name"] for item in request.items]
        self.requests.append(names)
        return [self.answer(name) for name in names]

    def answer(self, name: str) -> Outcome:
        answer = self.answers.get(name, Delivered())
        return answer() if callable(answer) else answer


def track(client: redis.Redis, name: str, user: str, **more: Any) -> None:
    event = {"type": "track", "event": name, "userId": user, "messageId": name, "timestamp": "2024-03-05T10:20:30Z"}
    body = pack("website", event | more)
    lanes.append(client, QUEUE, [lanes.NewEvent(body, (user,), name)], limit=1000, dedupe_s=60)


def work(
    client: redis.Redis, destination: mapping.Destination, send: deliver.Send, stopping: bool = False
) -> lanes.Claim:
    claim = lanes.claim(client, QUEUE, lease_ms=60_000, max_events=100, max_bytes=10**6, max_depth=20, listen_ms=0)
    lease = Lease(client, QUEUE, claim.id, 60_000, time.monotonic())
    work_off(claim, lease, destination, send, TERMS, lambda: stopping)
    return claim


def letters(client: redis.Redis) -> list[dict[str, Any]]:
    return [orjson.loads(letter) for letter in client.hgetall(f"{base(QUEUE)}:letter").values()]


def test_each_depth_leaves_after_the_answers_to_the_one_before(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    for name, user in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a"), ("b2", "b")]:
        track(client, name, user)
    service = Service()

    work(client, destination, service)

    assert service.requests == [["a1", "b1"], ["a2", "b2"], ["a3"]]
    assert lanes.stats(client, QUEUE).delivered_total == 5


def test_a_depth_larger_than_a_request_is_sent_in_several(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    for n in range(25):
        track(client, f"e{n}", f"user {n}")
    service = Service()

    work(client, destination, service)

    assert [len(names) for names in service.requests] == [10, 10, 5]


def test_only_what_failed_is_retried_and_what_follows_it_waits_unsent(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    for name, user in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b")]:
        track(client, name, user)
    service = Service(a1=RetryLater("HTTP 503", ANSWER, after_s=60))

    work(client, destination, service)

    assert service.requests == [["a1", "b1"], ["b2"]]
    figures = lanes.stats(client, QUEUE)
    assert (figures.delivered_total, figures.delayed, figures.blocked, figures.released_total) == (2, 1, 1, 1)


def test_a_refused_item_is_buried_and_its_followers_go_on(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "bad", "a")
    track(client, "next", "a")
    service = Service(bad=Rejected("name: too long (invalid)", Answer(207, "{}")))

    work(client, destination, service)

    assert service.requests == [["bad"], ["next"]]
    (letter,) = letters(client)
    assert (letter["class"], letter["message"]) == ("rejected", "name: too long (invalid)")
    assert letter["faults"][0]["request"]["name"] == "bad"
    assert letter["faults"][0]["answer"] == {"status": 207, "body": "{}"}


def test_an_event_that_cannot_be_mapped_is_buried_with_the_mapping_s_words(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "ignored", "a", type="page", properties={})
    service = Service()

    work(client, destination, service)

    assert service.requests == []
    (letter,) = letters(client)
    assert letter["class"] == "invalid"
    assert "missing the required field 'url'" in letter["message"]


def test_an_event_that_no_subscription_wants_is_done(client: redis.Redis, destination: mapping.Destination) -> None:
    track(client, "ignored", "a", type="unheard of")

    work(client, destination, Service())

    assert lanes.stats(client, QUEUE).delivered_total == 1


def test_an_ambiguous_failure_is_sent_again_with_the_same_bytes(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "a1", "a")
    bodies: list[bytes] = []

    def send(request: Request) -> list[Outcome]:
        bodies.append(request.body())
        return [RetryLater("no answer", Answer(None, "reset"))] if len(bodies) == 1 else [Delivered()]

    work(client, destination, send)

    assert bodies == [bodies[0]] * 2
    assert lanes.stats(client, QUEUE).delivered_total == 1


def test_a_request_refused_as_a_whole_is_halved_in_order_until_the_culprit_stands_alone(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    for n in range(4):
        track(client, f"e{n}", f"user {n}")
    sent: list[list[str]] = []

    def send(request: Request) -> list[Outcome]:
        names = [item.operation.body["name"] for item in request.items]
        sent.append(names)
        if "e2" not in names:
            return [Delivered()] * len(names)
        return [Split("HTTP 400", ANSWER)] * len(names) if len(names) > 1 else [Rejected("HTTP 400", ANSWER)]

    work(client, destination, send)

    assert sent == [["e0", "e1", "e2", "e3"], ["e0", "e1"], ["e2", "e3"], ["e2"], ["e3"]]
    figures = lanes.stats(client, QUEUE)
    assert (figures.delivered_total, figures.buried_total) == (3, 1)


def test_refused_credentials_spend_no_attempt_and_bury_nothing(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "a1", "a")

    work(client, destination, Service(a1=Paused("HTTP 401", Answer(401, ""))))

    assert lanes.stats(client, QUEUE).delayed == 1
    assert client.hgetall(f"{base(QUEUE)}:attempts") == {}


def test_an_event_tried_too_often_is_buried_as_exhausted(client: redis.Redis, destination: mapping.Destination) -> None:
    track(client, "a1", "a")
    client.hset(f"{base(QUEUE)}:attempts", "1", retries.MAX_ATTEMPTS - 1)

    work(client, destination, Service(a1=RetryLater("HTTP 503", ANSWER)))

    (letter,) = letters(client)
    assert (letter["class"], letter["attempts"]) == ("exhausted", retries.MAX_ATTEMPTS)


def test_an_event_that_keeps_killing_workers_is_buried_unseen(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "poison", "a")
    client.hset(f"{base(QUEUE)}:deaths", "1", deliver.MOST_DEATHS)
    service = Service()

    work(client, destination, service)

    assert service.requests == []
    assert letters(client)[0]["class"] == "deadly"


def test_a_stopping_worker_puts_back_what_it_has_not_sent(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "a1", "a")
    track(client, "a2", "a")
    service = Service()

    work(client, destination, service, stopping=True)

    assert service.requests == []
    figures = lanes.stats(client, QUEUE)
    assert (figures.ready, figures.blocked, figures.claims) == (1, 1, 0)
    assert client.hgetall(f"{base(QUEUE)}:attempts") == {}


def test_nothing_is_sent_once_the_lease_is_lost(client: redis.Redis, destination: mapping.Destination) -> None:
    track(client, "a1", "a")
    claim = lanes.claim(client, QUEUE, lease_ms=1, max_events=9, max_bytes=10**6, max_depth=0, listen_ms=0)
    client.zadd(f"{base(QUEUE)}:claims", {claim.id: 0})
    lanes.reap(client, QUEUE)
    service = Service()

    with pytest.raises(LeaseLost):
        work_off(claim, Lease(client, QUEUE, claim.id, 1, 0.0), destination, service, TERMS, lambda: False)

    assert service.requests == []


def test_a_lease_that_is_short_is_extended_before_the_send(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "a1", "a")
    claim = lanes.claim(client, QUEUE, lease_ms=500, max_events=9, max_bytes=10**6, max_depth=0, listen_ms=0)
    before = client.zscore(f"{base(QUEUE)}:claims", claim.id)
    ends: list[float | None] = []

    def send(_: Request) -> list[Outcome]:
        ends.append(client.zscore(f"{base(QUEUE)}:claims", claim.id))
        return [Delivered()]

    work_off(claim, Lease(client, QUEUE, claim.id, 60_000, -1e9), destination, send, TERMS, lambda: False)

    assert before is not None
    assert ends[0] is not None
    assert ends[0] > before + 50_000
