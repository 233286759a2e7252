"""Updates that change identifiers, and updates that repeat recent attributes: claims delivered over fakeredis, with a
`send` that accepts every operation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import orjson
import pytest
import redis

import lanes
import mapping
from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome, Rejected, Response
from lanes.keys import base
from mapping.envelope import pack
from tests.claims import deliver_one
from tests.queues import queue_of
from tests.secrets import CREDENTIALS

QUEUE = "journeys"
COOLDOWN_MS = 60_000
HAPPENED_AT = (datetime.now(UTC) - timedelta(seconds=600)).isoformat()


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


class Worker:
    """Delivers the events of a destination. `bodies`: what it sent; `rejects`: the plan that the service rejects."""

    def __init__(
        self, client: redis.Redis, cooldown_ms: int = COOLDOWN_MS, rejects: str = "", most: int = 2**53, **delivery: Any
    ) -> None:
        table = {**CREDENTIALS, "delivery": delivery}
        self.client, self.rejects = client, rejects
        self.queue = queue_of(client, QUEUE, cooldown_ms=cooldown_ms, most_fan_in=most)
        self.destination = mapping.destinations({"destinations": {QUEUE: table}})[QUEUE]
        self.bodies: list[dict[str, Any]] = []
        self.requests: list[int] = []  # how many operations each had
        self.accepted = 0

    def append(self, *events: dict[str, Any]) -> None:
        entries = []
        for event in events:
            self.accepted += 1
            whole = event | {"messageId": f"m{self.accepted}", "timestamp": HAPPENED_AT}
            info = mapping.ordering_info(whole, self.destination)
            cooldown_ms = self.queue.cooldown_ms if info.needs_cooldown else 0
            entries.append(lanes.NewEvent(pack("web", whole), info.keys, whole["messageId"], cooldown_ms, info.join))
        lanes.append(self.queue, entries)

    def send(self, request: Request) -> list[Outcome]:
        bodies = [orjson.loads(item.data) for item in request.items]
        self.bodies += bodies
        self.requests.append(len(bodies))
        return [self.outcome(body) for body in bodies]

    def outcome(self, body: dict[str, Any]) -> Outcome:
        is_rejected = self.rejects and body.get("attributes", {}).get("plan") == self.rejects
        return Rejected("no such plan", Response(207, "{}")) if is_rejected else Delivered()

    def deliver_one(self) -> int:
        """Deliver one claim; return how many events it had."""
        return len(deliver_one(self.queue, self.destination, self.send).events)

    def deliver(self) -> None:
        """Deliver what is due; no event may be released again and again."""
        for _ in range(20):
            if not self.deliver_one():
                return
        raise AssertionError("an event is due again and again")

    def sent(self) -> list[Any]:
        """Deliver what is due, and return what was sent: addresses of updates, names of events."""
        before = len(self.bodies)
        self.deliver()
        return [
            body["name"] if body["action"] == "event" else body["attributes"].get("email")
            for body in self.bodies[before:]
        ]

    def stats(self) -> lanes.Stats:
        return lanes.stats(self.queue)


def make_due(client: redis.Redis) -> None:
    for name in client.zrange(f"{base(QUEUE)}:ready", 0, -1):
        client.zadd(f"{base(QUEUE)}:ready", {name: 0})
    for key in client.keys(f"{base(QUEUE)}:*"):
        if b":cooling_until:" in key or b":finished_at:" in key:
            client.delete(key)


def identify(user: str, **traits: Any) -> dict[str, Any]:
    return {"type": "identify", "userId": user, "traits": traits}


def track(name: str, user: str) -> dict[str, Any]:
    return {"type": "track", "event": name, "userId": user}


CHANGE = (identify("a", email="1@x"), track("early", "a"), identify("a", email="2@x"), track("late", "a"))


@pytest.mark.parametrize("batch_order", ["barrier", "trust"])
@pytest.mark.parametrize("identify_times", ["rising", "mapped"])
def test_a_change_of_identifiers_waits_for_the_cooldown_before_it_and_after_it(
    client: redis.Redis, batch_order: str, identify_times: str
) -> None:
    worker = Worker(client, batch_order=batch_order, identify_times=identify_times)
    worker.append(*CHANGE, track("independent", "b"))

    assert sorted(worker.sent()) == ["1@x", "early", "independent"]
    assert (worker.stats().delayed, worker.stats().blocked) == (1, 1)
    assert not client.exists(f"{base(QUEUE)}:attempts")

    make_due(client)
    assert worker.sent() == ["2@x"]
    assert (worker.stats().delayed, worker.stats().blocked) == (1, 0)

    make_due(client)
    assert worker.sent() == ["late"]


def test_a_change_of_identifiers_survives_a_worker_that_crashes(client: redis.Redis) -> None:
    worker = Worker(client)
    worker.append(*CHANGE)
    worker.sent()
    make_due(client)
    lanes.claim(queue_of(client, QUEUE), lease_ms=1, max_events=9, max_bytes=10**6, max_depth=9, poll_ms=0)
    client.zadd(f"{base(QUEUE)}:claims", dict.fromkeys(client.zrange(f"{base(QUEUE)}:claims", 0, -1), 0))

    assert lanes.reap(queue_of(client, QUEUE)).events == 1

    assert worker.sent() == ["2@x"]


def test_an_update_that_follows_a_change_of_identifiers_is_newer_than_it(client: redis.Redis) -> None:
    """Also where each depth is addressed when it is due, as other people are merged in the same claim."""
    worker = Worker(client)
    worker.append(
        identify("a", email="1@x"),
        identify("a", email="2@x"),
        identify("a", plan="pro") | {"anonymousId": "v"},
        {"type": "alias", "userId": "new", "previousId": "old"},
    )

    for _ in range(3):
        worker.deliver()
        make_due(client)

    times = [body["timestamp"] for body in worker.bodies if body["action"] == "identify"]
    assert len(times) == 3
    assert times[0] < times[1] < times[2]


def test_ordinary_updates_never_wait(client: redis.Redis) -> None:
    worker = Worker(client)
    visit = {"type": "page", "anonymousId": "v", "properties": {"url": "https://x/"}}
    worker.append(
        visit,
        identify("a", email="1@x", plan="free") | {"anonymousId": "v"},
        track("bought", "a"),
        identify("a", plan="pro"),
        identify("a", email="1@X") | {"anonymousId": "second device"},
        track("bought more", "a") | {"anonymousId": "second device"},
        identify("1@x", plan="team"),
        identify("b"),
        identify("b", email="b@x"),
    )

    worker.deliver()

    assert len(worker.bodies) == 9
    assert (worker.stats().delivered_total, worker.stats().released_total) == (9, 0)


def test_without_a_cooldown_no_update_waits_and_none_repeats_attributes(client: redis.Redis) -> None:
    worker = Worker(client, cooldown_ms=0)
    worker.append(identify("a", email="1@x", plan="free"), identify("a", email="2@x"))

    assert worker.sent() == ["1@x", "2@x"]

    assert worker.bodies[1]["attributes"] == {"email": "2@x"}
    assert not client.keys(f"{base(QUEUE)}:recent_attributes:*")


def test_an_update_repeats_the_recent_attributes_of_its_person(client: redis.Redis) -> None:
    worker = Worker(client)
    worker.append(
        identify("a", email="1@x", plan="free", seats=1),
        identify("a", plan="pro"),
        identify("b", colour="red"),
        identify("a", colour="green"),
    )
    worker.sent()

    of_a = [body["attributes"] for body in worker.bodies if body["identifiers"] == {"id": "a"}]
    assert of_a == [
        {"email": "1@x", "plan": "free", "seats": 1},
        {"plan": "pro", "seats": 1},
        {"plan": "pro", "seats": 1, "colour": "green"},
    ]
    assert [body["attributes"] for body in worker.bodies if body["identifiers"] == {"id": "b"}] == [{"colour": "red"}]


def test_attributes_from_before_the_cooldown_are_not_repeated(client: redis.Redis) -> None:
    worker = Worker(client)
    worker.append(identify("a", plan="free"))
    worker.sent()
    for name in client.keys(f"{base(QUEUE)}:recent_attributes:*"):
        for person, value in client.hgetall(name).items():
            client.hset(name, person, b"%013d" % (int(value[:13]) - COOLDOWN_MS) + value[13:])

    worker.append(identify("a", colour="green"))
    worker.sent()

    assert worker.bodies[-1]["attributes"] == {"colour": "green"}


def test_rejected_attributes_are_not_repeated(client: redis.Redis) -> None:
    """The next update would be rejected as well."""
    worker = Worker(client, rejects="wrong")
    worker.append(identify("a", plan="wrong"), identify("a", colour="green"))
    worker.sent()

    assert worker.bodies[-1]["attributes"] == {"colour": "green"}
    assert worker.stats().buried_total == 1


def test_an_update_never_exceeds_the_limits_of_the_service(client: redis.Redis) -> None:
    worker = Worker(client)
    worker.append(identify("a", **{f"n{n}": n for n in range(200)}), identify("a", **{f"m{n}": n for n in range(101)}))
    worker.append(identify("b", **{f"n{n}": "x" * 900 for n in range(20)}))
    worker.append(identify("b", **{f"m{n}": "x" * 900 for n in range(20)}))
    worker.sent()

    assert sorted(len(body["attributes"]) for body in worker.bodies) == [20, 20, 101, 200]


@pytest.mark.parametrize("delivery", [{"order": "applied"}, {"identify_times": "mapped"}])
def test_attributes_are_not_repeated_where_updates_wait_for_one_another_or_may_look_older(
    client: redis.Redis, delivery: dict[str, str]
) -> None:
    worker = Worker(client, **delivery)
    worker.append(identify("a", plan="free"))
    worker.sent()
    worker.append(identify("a", colour="green"))
    make_due(client)
    worker.sent()

    assert worker.bodies[-1]["attributes"] == {"colour": "green"}


def test_ids_that_claim_one_address_wait_only_as_long_as_they_are_few(client: redis.Redis) -> None:
    """More of them than may wait are sent at once, and together: only the address is common to them."""
    worker = Worker(client, most=3)
    worker.append(*(identify(f"id {number}", email="1@x") for number in range(6)), track("late", "id 5"))

    assert worker.deliver_one() == 7

    assert worker.stats().waiting == 0
    assert worker.stats().unbounded_total == 1
    assert worker.requests == [6, 1]


def test_changes_of_an_identifier_are_counted_over_claims(client: redis.Redis) -> None:
    worker = Worker(client, most=3)
    for number in range(5):
        worker.append(identify("a", email=f"{number}@x"))
        worker.deliver()
        if worker.stats().waiting:
            make_due(client)
            worker.deliver()
        assert worker.stats().waiting == 0

    assert worker.stats().released_total == 3
    assert worker.stats().unbounded_total == 1


def test_repeated_identifiers_count_as_no_change(client: redis.Redis) -> None:
    worker = Worker(client, most=3)
    worker.append(*(identify("a", **({"email": "1@x"} if number % 2 else {})) for number in range(12)))
    worker.append(identify("a", email="2@x"))

    worker.deliver()

    assert worker.stats().waiting == 1, "its first change has its cooldown"


def test_events_of_the_person_of_an_address_keep_their_order_beside_those_that_claim_it(client: redis.Redis) -> None:
    worker = Worker(client, most=2)
    worker.append(*(identify(f"id {number}", email="jo@example.com") for number in range(4)))
    worker.append(track("one", "jo@example.com"), track("two", "jo@example.com"))

    worker.deliver_one()

    assert worker.requests == [5, 1]
    assert [body["name"] for body in worker.bodies if body["action"] == "event"] == ["one", "two"]
