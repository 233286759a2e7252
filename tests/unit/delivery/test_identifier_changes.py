"""What becomes of updates that change names, and of those that follow one another: claims worked off over an imitation
server, with a `send` that takes everything."""

from __future__ import annotations

import time
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
from tests.queues import queue_of
from workers.claim import Terms, work_off
from workers.lease import Lease

QUEUE = "journeys"
COOLDOWN_MS = 60_000
HAPPENED_AT = (datetime.now(UTC) - timedelta(seconds=600)).isoformat()


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


class Worker:
    """Works off a destination; `bodies` are what it sent, `refuses` the plan that the service does not take."""

    def __init__(self, client: redis.Redis, cooldown_ms: int = COOLDOWN_MS, refuses: str = "", **delivery: Any) -> None:
        table = {"site_id": "s", "api_key": "k", "delivery": delivery}
        self.client, self.refuses = client, refuses
        self.queue = queue_of(client, QUEUE, cooldown_ms=cooldown_ms)
        self.destination = mapping.destinations({"destinations": {QUEUE: table}})[QUEUE]
        self.terms = Terms(0.001, timeout_s=1, turn_s=1, lease_ms=60_000)
        self.bodies: list[dict[str, Any]] = []
        self.taken = 0

    def take(self, *events: dict[str, Any]) -> None:
        entries = []
        for event in events:
            self.taken += 1
            whole = event | {"messageId": f"m{self.taken}", "timestamp": HAPPENED_AT}
            place = mapping.ordering_info(whole, self.destination)
            cooldown_ms = self.queue.cooldown_ms if place.needs_cooldown else 0
            entries.append(lanes.NewEvent(pack("web", whole), place.keys, whole["messageId"], cooldown_ms, place.join))
        lanes.append(self.queue, entries)

    def send(self, request: Request) -> list[Outcome]:
        bodies = [orjson.loads(item.data) for item in request.items]
        self.bodies += bodies
        return [self.answer(body) for body in bodies]

    def answer(self, body: dict[str, Any]) -> Outcome:
        is_refused = self.refuses and body.get("attributes", {}).get("plan") == self.refuses
        return Rejected("no such plan", Response(207, "{}")) if is_refused else Delivered()

    def work(self) -> int:
        """Work off one claim; return how many events it had."""
        asked_at = time.monotonic()
        claim = lanes.claim(
            self.queue,
            lease_ms=60_000,
            max_events=100,
            max_bytes=10**6,
            max_depth=20,
            poll_ms=0,
        )
        if claim.events:
            lease = Lease(self.queue, claim.id, 60_000, asked_at)
            work_off(claim, lease, self.destination, self.send, self.terms, lambda: False)
        return len(claim.events)

    def work_off(self) -> None:
        """Work off what is due; nothing may come again and again."""
        for _ in range(20):
            if not self.work():
                return
        raise AssertionError("there is always something due")

    def sent(self) -> list[Any]:
        """Work off what is due, and return what was sent of it: addresses of updates, names of events."""
        before = len(self.bodies)
        self.work_off()
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
def test_an_update_that_changes_names_leaves_when_its_neighbours_are_applied_and_they_wait_for_it(
    client: redis.Redis, batch_order: str, identify_times: str
) -> None:
    worker = Worker(client, batch_order=batch_order, identify_times=identify_times)
    worker.take(*CHANGE, track("stranger", "b"))

    assert sorted(worker.sent()) == ["1@x", "early", "stranger"]
    assert (worker.stats().delayed, worker.stats().blocked) == (1, 1)
    assert not client.exists(f"{base(QUEUE)}:attempts")

    make_due(client)
    assert worker.sent() == ["2@x"]
    assert (worker.stats().delayed, worker.stats().blocked) == (1, 0)

    make_due(client)
    assert worker.sent() == ["late"]


def test_an_update_that_changes_names_survives_a_worker_that_dies_with_it(client: redis.Redis) -> None:
    worker = Worker(client)
    worker.take(*CHANGE)
    worker.sent()
    make_due(client)
    lanes.claim(queue_of(client, QUEUE), lease_ms=1, max_events=9, max_bytes=10**6, max_depth=9, poll_ms=0)
    client.zadd(f"{base(QUEUE)}:claims", dict.fromkeys(client.zrange(f"{base(QUEUE)}:claims", 0, -1), 0))

    assert lanes.reap(queue_of(client, QUEUE)).events == 1

    assert worker.sent() == ["2@x"]


def test_what_is_behind_a_change_of_names_is_never_older_than_it(client: redis.Redis) -> None:
    """Also where each depth is prepared when it is due, as somebody else is merged in the same claim."""
    worker = Worker(client)
    worker.take(
        identify("a", email="1@x"),
        identify("a", email="2@x"),
        identify("a", plan="pro") | {"anonymousId": "v"},
        {"type": "alias", "userId": "new", "previousId": "old"},
    )

    for _ in range(3):
        worker.work_off()
        make_due(client)

    times = [body["timestamp"] for body in worker.bodies if body["action"] == "identify"]
    assert len(times) == 3
    assert times[0] < times[1] < times[2]


def test_the_ordinary_path_never_waits(client: redis.Redis) -> None:
    worker = Worker(client)
    visit = {"type": "page", "anonymousId": "v", "properties": {"url": "https://x/"}}
    worker.take(
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

    worker.work_off()

    assert len(worker.bodies) == 9
    assert (worker.stats().delivered_total, worker.stats().released_total) == (9, 0)


def test_without_a_settle_time_nothing_keeps_a_distance_and_nothing_is_said_again(client: redis.Redis) -> None:
    worker = Worker(client, cooldown_ms=0)
    worker.take(identify("a", email="1@x", plan="free"), identify("a", email="2@x"))

    assert worker.sent() == ["1@x", "2@x"]

    assert worker.bodies[1]["attributes"] == {"email": "2@x"}
    assert not client.keys(f"{base(QUEUE)}:recent_attributes:*")


def test_an_update_says_again_what_was_said_of_its_person_lately(client: redis.Redis) -> None:
    worker = Worker(client)
    worker.take(
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


def test_what_was_said_before_the_settle_time_is_not_said_again(client: redis.Redis) -> None:
    worker = Worker(client)
    worker.take(identify("a", plan="free"))
    worker.sent()
    for name in client.keys(f"{base(QUEUE)}:recent_attributes:*"):
        for person, noted in client.hgetall(name).items():
            client.hset(name, person, b"%013d" % (int(noted[:13]) - COOLDOWN_MS) + noted[13:])

    worker.take(identify("a", colour="green"))
    worker.sent()

    assert worker.bodies[-1]["attributes"] == {"colour": "green"}


def test_what_was_refused_is_not_said_again(client: redis.Redis) -> None:
    """It would take the next update along."""
    worker = Worker(client, refuses="wrong")
    worker.take(identify("a", plan="wrong"), identify("a", colour="green"))
    worker.sent()

    assert worker.bodies[-1]["attributes"] == {"colour": "green"}
    assert worker.stats().buried_total == 1


def test_an_update_grows_no_larger_than_the_service_takes(client: redis.Redis) -> None:
    worker = Worker(client)
    worker.take(identify("a", **{f"n{n}": n for n in range(200)}), identify("a", **{f"m{n}": n for n in range(101)}))
    worker.take(identify("b", **{f"n{n}": "x" * 900 for n in range(20)}))
    worker.take(identify("b", **{f"m{n}": "x" * 900 for n in range(20)}))
    worker.sent()

    assert sorted(len(body["attributes"]) for body in worker.bodies) == [20, 20, 101, 200]


@pytest.mark.parametrize("delivery", [{"order": "applied"}, {"identify_times": "mapped"}])
def test_nothing_is_said_again_where_updates_wait_for_one_another_or_may_look_older(
    client: redis.Redis, delivery: dict[str, str]
) -> None:
    worker = Worker(client, **delivery)
    worker.take(identify("a", plan="free"))
    worker.sent()
    worker.take(identify("a", colour="green"))
    make_due(client)
    worker.sent()

    assert worker.bodies[-1]["attributes"] == {"colour": "green"}
