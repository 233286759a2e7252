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
from delivery import retries
from delivery.admission import Send
from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome, Paused, Rejected, Response, RetryLater, Split
from lanes.keys import base
from mapping.envelope import pack
from tests.queues import queue_of
from workers import claim
from workers.claim import Terms, work_off
from workers.lease import Lease, LeaseLost

QUEUE = "journeys"
RESPONSE = Response(503, "")
ATTEMPT = b'[1,"w","HTTP 503"]\n'
ATTEMPTS = ATTEMPT * (retries.MAX_ATTEMPTS - 1)
TERMS = Terms(retry_base_s=0.001, timeout_s=1.0, turn_s=1.0, lease_ms=60_000)


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
        names = [orjson.loads(item.data)["name"] for item in request.items]
        self.requests.append(names)
        return [self.answer(name) for name in names]

    def answer(self, name: str) -> Outcome:
        answer = self.answers.get(name, Delivered())
        return answer() if callable(answer) else answer


def track(client: redis.Redis, name: str, user: str, **more: Any) -> None:
    event = {"type": "track", "event": name, "userId": user, "messageId": name, "timestamp": "2024-03-05T10:20:30Z"}
    body = pack("website", event | more)
    lanes.append(queue_of(client, QUEUE), [lanes.NewEvent(body, (user,), name)])


def work(client: redis.Redis, destination: mapping.Destination, send: Send, stopping: bool = False) -> lanes.Claim:
    claim = lanes.claim(
        queue_of(client, QUEUE), lease_ms=60_000, max_events=100, max_bytes=10**6, max_depth=20, poll_ms=0
    )
    lease = Lease(queue_of(client, QUEUE), claim.id, 60_000, time.monotonic())
    work_off(claim, lease, destination, send, TERMS, lambda: stopping)
    return claim


def letters(client: redis.Redis) -> list[dict[str, Any]]:
    return [orjson.loads(letter) for letter in client.hgetall(f"{base(QUEUE)}:failure").values()]


def test_each_depth_leaves_after_the_answers_to_the_one_before(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    for name, user in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a"), ("b2", "b")]:
        track(client, name, user)
    service = Service()

    work(client, destination, service)

    assert service.requests == [["a1", "b1"], ["a2", "b2"], ["a3"]]
    assert lanes.stats(queue_of(client, QUEUE)).delivered_total == 5


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
    service = Service(a1=RetryLater("HTTP 503", RESPONSE, after_s=60))

    work(client, destination, service)

    assert service.requests == [["a1", "b1"], ["b2"]]
    figures = lanes.stats(queue_of(client, QUEUE))
    assert (figures.delivered_total, figures.delayed, figures.blocked, figures.released_total) == (2, 1, 1, 1)


def test_a_refused_item_is_buried_and_its_followers_go_on(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "bad", "a")
    track(client, "next", "a")
    service = Service(bad=Rejected("name: too long (invalid)", Response(207, "{}")))

    work(client, destination, service)

    assert service.requests == [["bad"], ["next"]]
    (letter,) = letters(client)
    assert (letter["class"], letter["message"]) == ("rejected", "name: too long (invalid)")
    assert letter["faults"][0]["request"]["name"] == "bad"
    assert letter["faults"][0]["response"] == {"status": 207, "body": "{}", "batch_index": None}


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


def test_the_letter_of_an_event_that_failed_in_part_says_what_was_accepted(client: redis.Redis) -> None:
    page = {"name": "Pages too", "action": "trackPageView", "trigger": 'type = "track"', "mapping": {"url": "$.absent"}}
    document = {"destinations": {QUEUE: {"site_id": "s", "api_key": "k", "subscriptions": [page]}}}
    track(client, "bought", "a", properties={"price": 3})

    work(client, mapping.destinations(document)[QUEUE], Service())

    (letter,) = letters(client)
    assert [(fault["subscription"], "request" in fault) for fault in letter["faults"]] == [("Pages too", False)]
    (accepted,) = letter["accepted"]
    assert (accepted["subscription"], accepted["request"]["name"]) == ("Track Event", "bought")
    assert accepted["payload"]["data"] == {"price": 3}


def test_a_request_as_it_was_keeps_its_payload_when_its_subscription_is_gone(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    stored = [
        {
            "subscription": "gone",
            "action": "trackEvent",
            "path": "/api/v2/entity",
            "request": {"name": name},
            "payload": {"name": name},
        }
        for name in ("one", "two")
    ]
    event = {"type": "track", "event": "Bought", "userId": "jo", "messageId": "m1"}
    body = pack("website", event, {"requests": stored})
    lanes.append(queue_of(client, QUEUE), [lanes.NewEvent(body, ("id:jo",), "m1")])
    refused = Rejected("no", Response(400, "no"))

    work(client, destination, Service(one=refused, two=refused))

    (letter,) = letters(client)
    assert [fault["payload"] for fault in letter["faults"]] == [{"name": "one"}, {"name": "two"}]


def test_a_deletion_request_that_is_refused_leaves_a_letter(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    body = pack("website", {"type": "delete", "userId": "jo", "messageId": "m1"})
    lanes.append(queue_of(client, QUEUE), [lanes.NewEvent(body, ("id:jo",), "m1")])

    work(client, destination, lambda request: [Rejected("no", Response(400, "no"))] * len(request.items))

    (letter,) = letters(client)
    (fault,) = letter["faults"]
    assert (fault["action"], fault["payload"]) == ("deletePerson", None)
    assert fault["request"] == {"type": "person", "action": "delete", "identifiers": {"id": "jo"}}


def test_an_update_that_names_nobody_is_sent_and_refused(client: redis.Redis) -> None:
    update = {
        "name": "Nobody",
        "action": "createUpdatePerson",
        "trigger": 'type = "identify"',
        "mapping": {"id": "$.absent"},
    }
    table = {"site_id": "s", "api_key": "k", "subscriptions": [update], "presets": {"Create or Update Person": False}}
    track(client, "m1", "jo", type="identify", traits={"plan": "free"})

    refused = Rejected("no", Response(400, "no"))
    work(client, mapping.destinations({"destinations": {QUEUE: table}})[QUEUE], lambda _: [refused])

    (letter,) = letters(client)
    (fault,) = letter["faults"]
    assert letter["class"] == "rejected"
    assert "identifiers" not in fault["request"]


def test_an_event_that_no_subscription_wants_is_done(client: redis.Redis, destination: mapping.Destination) -> None:
    track(client, "ignored", "a", type="unheard of")

    work(client, destination, Service())

    assert lanes.stats(queue_of(client, QUEUE)).delivered_total == 1


def test_an_ambiguous_failure_is_sent_again_with_the_same_bytes(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "a1", "a")
    bodies: list[bytes] = []

    def send(request: Request) -> list[Outcome]:
        bodies.append(request.body())
        return [RetryLater("no answer", Response(None, "reset"))] if len(bodies) == 1 else [Delivered()]

    work(client, destination, send)

    assert bodies == [bodies[0]] * 2
    assert lanes.stats(queue_of(client, QUEUE)).delivered_total == 1


def test_a_request_refused_as_a_whole_is_halved_in_order_until_the_culprit_stands_alone(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    for n in range(4):
        track(client, f"e{n}", f"user {n}")
    sent: list[list[str]] = []

    def send(request: Request) -> list[Outcome]:
        names = [orjson.loads(item.data)["name"] for item in request.items]
        sent.append(names)
        if "e2" not in names:
            return [Delivered()] * len(names)
        return [Split("HTTP 400", RESPONSE)] * len(names) if len(names) > 1 else [Rejected("HTTP 400", RESPONSE)]

    work(client, destination, send)

    assert sent == [["e0", "e1", "e2", "e3"], ["e0", "e1"], ["e2", "e3"], ["e2"], ["e3"]]
    figures = lanes.stats(queue_of(client, QUEUE))
    assert (figures.delivered_total, figures.buried_total) == (3, 1)


def test_the_second_half_of_a_refused_request_does_not_overtake_the_first(client: redis.Redis) -> None:
    for name, user in [("a0", "a"), ("b0", "b"), ("a1", "a"), ("c0", "c")]:
        track(client, name, user)
    sent: list[list[str]] = []

    def send(request: Request) -> list[Outcome]:
        names = [orjson.loads(item.data)["name"] for item in request.items]
        sent.append(names)
        if len(names) > 2:
            return [Split("HTTP 413", RESPONSE)] * len(names)
        return [RetryLater("HTTP 503", RESPONSE) if "a0" in names else Delivered()] * len(names)

    work(client, configured(batch_order="trust", batch_items=4), send)

    assert sent[0] == ["a0", "b0", "c0", "a1"]
    assert sent[-1] == ["c0"]
    assert lanes.stats(queue_of(client, QUEUE)).delivered_total == 1


def test_refused_credentials_spend_no_attempt_and_bury_nothing(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "a1", "a")

    work(client, destination, Service(a1=Paused("HTTP 401", Response(401, ""))))

    figures = lanes.stats(queue_of(client, QUEUE))
    assert (figures.ready, figures.dead) == (1, 0)
    assert client.hgetall(f"{base(QUEUE)}:attempts") == {}


def test_an_event_tried_too_often_is_buried_as_exhausted(client: redis.Redis, destination: mapping.Destination) -> None:
    track(client, "a1", "a")
    client.hset(f"{base(QUEUE)}:attempts", "1", ATTEMPTS)

    work(client, destination, Service(a1=RetryLater("HTTP 503", RESPONSE)))

    (letter,) = letters(client)
    assert (letter["class"], len(letter["attempts"])) == ("exhausted", retries.MAX_ATTEMPTS)
    assert letter["attempts"][0] == {"at_ms": 1, "worker": "w", "reason": "HTTP 503"}
    assert letter["attempts"][-1]["worker"] == letter["worker"]


@pytest.mark.parametrize(("tried", "is_buried"), [(0, False), (retries.LEAST_ATTEMPTS - 1, True)])
def test_an_old_event_is_buried_when_it_was_tried_a_few_times(
    client: redis.Redis, destination: mapping.Destination, monkeypatch: pytest.MonkeyPatch, tried: int, is_buried: bool
) -> None:
    """It may have waited for hours behind a dead service, and the first answer after that may be a bad one."""
    track(client, "a1", "a")
    client.hset(f"{base(QUEUE)}:attempts", "1", ATTEMPT * tried)
    monkeypatch.setattr(retries, "MAX_AGE_S", -1)

    work(client, destination, Service(a1=RetryLater("HTTP 503", RESPONSE)))

    assert [letter["class"] for letter in letters(client)] == ["exhausted"] * is_buried


def test_what_the_service_has_no_room_for_spends_no_attempt_however_often(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "a1", "a")
    client.hset(f"{base(QUEUE)}:attempts", "1", ATTEMPTS)

    work(client, destination, Service(a1=RetryLater("HTTP 429", Response(429, ""))))

    assert lanes.stats(queue_of(client, QUEUE)).dead == 0
    assert client.hget(f"{base(QUEUE)}:attempts", "1") == ATTEMPTS


def test_an_event_that_keeps_killing_workers_is_buried_unseen(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "poison", "a")
    client.hset(f"{base(QUEUE)}:expired_claims", "1", b"7000 id/w1\n" * claim.MOST_EXPIRED_CLAIMS)
    service = Service()

    work(client, destination, service)

    assert service.requests == []
    (letter,) = letters(client)
    assert (letter["class"], letter["deaths"]) == ("poison", claim.MOST_EXPIRED_CLAIMS)
    assert [(one["at_ms"], one["worker"]) for one in letter["attempts"]] == [(7000, "w1")] * claim.MOST_EXPIRED_CLAIMS


def test_a_stopping_worker_puts_back_what_it_has_not_sent(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "a1", "a")
    track(client, "a2", "a")
    service = Service()

    work(client, destination, service, stopping=True)

    assert service.requests == []
    figures = lanes.stats(queue_of(client, QUEUE))
    assert (figures.ready, figures.blocked, figures.claims) == (1, 1, 0)
    assert client.hgetall(f"{base(QUEUE)}:attempts") == {}


def test_a_worker_that_is_told_to_stop_sends_nothing_more_and_puts_back_the_rest(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    for n in range(25):
        track(client, f"e{n}", f"user {n}")
    service = Service()
    claim = lanes.claim(
        queue_of(client, QUEUE), lease_ms=60_000, max_events=100, max_bytes=10**6, max_depth=20, poll_ms=0
    )
    lease = Lease(queue_of(client, QUEUE), claim.id, 60_000, time.monotonic())

    work_off(claim, lease, destination, service, TERMS, lambda: len(service.requests) > 0)

    assert [len(names) for names in service.requests] == [10], "one request was under way"
    figures = lanes.stats(queue_of(client, QUEUE))
    assert (figures.delivered_total, figures.ready, figures.claims) == (10, 15, 0)
    assert client.hgetall(f"{base(QUEUE)}:attempts") == {}


def test_whoever_wants_to_know_is_told_before_each_settling(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "a1", "a")
    track(client, "b1", "b")
    track(client, "b2", "b")
    service = Service(a1=RetryLater("HTTP 503", Response(503, ""), after_s=60.0))
    claim = lanes.claim(
        queue_of(client, QUEUE), lease_ms=60_000, max_events=100, max_bytes=10**6, max_depth=20, poll_ms=0
    )
    lease = Lease(queue_of(client, QUEUE), claim.id, 60_000, time.monotonic())
    told: list[tuple[int, int]] = []

    def before_settling() -> None:
        told.append((len(service.requests), lanes.stats(queue_of(client, QUEUE)).claimed))

    work_off(claim, lease, destination, service, TERMS, lambda: False, before_settling)

    assert told == [(1, 3), (2, 1)]


def test_nothing_is_sent_once_the_lease_is_lost(client: redis.Redis, destination: mapping.Destination) -> None:
    track(client, "a1", "a")
    claim = lanes.claim(queue_of(client, QUEUE), lease_ms=1, max_events=9, max_bytes=10**6, max_depth=0, poll_ms=0)
    client.zadd(f"{base(QUEUE)}:claims", {claim.id: 0})
    lanes.reap(queue_of(client, QUEUE))
    service = Service()

    with pytest.raises(LeaseLost):
        work_off(claim, Lease(queue_of(client, QUEUE), claim.id, 1, 0.0), destination, service, TERMS, lambda: False)

    assert service.requests == []


def test_a_lease_that_is_short_is_extended_before_the_send(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "a1", "a")
    claim = lanes.claim(queue_of(client, QUEUE), lease_ms=500, max_events=9, max_bytes=10**6, max_depth=0, poll_ms=0)
    before = client.zscore(f"{base(QUEUE)}:claims", claim.id)
    ends: list[float | None] = []

    def send(_: Request) -> list[Outcome]:
        ends.append(client.zscore(f"{base(QUEUE)}:claims", claim.id))
        return [Delivered()]

    work_off(claim, Lease(queue_of(client, QUEUE), claim.id, 60_000, -1e9), destination, send, TERMS, lambda: False)

    assert before is not None
    assert ends[0] is not None
    assert ends[0] > before + 50_000


def configured(batch_items: int = 3, **delivery: Any) -> mapping.Destination:
    table = {"site_id": "s", "api_key": "k", "batch_items": batch_items, "delivery": delivery}
    return mapping.destinations({"destinations": {QUEUE: table}})[QUEUE]


def sent_by(client: redis.Redis, destination: mapping.Destination) -> list[dict[str, Any]]:
    """Work everything off and return the bodies sent."""
    bodies: list[dict[str, Any]] = []

    def send(request: Request) -> list[Outcome]:
        bodies.extend(orjson.loads(item.data) for item in request.items)
        return [Delivered()] * len(request.items)

    while work(client, destination, send).events:
        pass
    return bodies


def test_where_order_within_a_request_is_trusted_a_chain_shares_requests(client: redis.Redis) -> None:
    for n in range(5):
        track(client, f"a{n}", "a")
    track(client, "b0", "b")
    service = Service()

    work(client, configured(batch_order="trust"), service)

    assert service.requests == [["a0", "b0", "a1"], ["a2", "a3", "a4"]]


def test_trusted_or_not_nothing_overtakes_what_has_to_go_again(client: redis.Redis) -> None:
    for name, user in [("a0", "a"), ("b0", "b"), ("c0", "c"), ("a1", "a"), ("a2", "a"), ("b1", "b"), ("d0", "d")]:
        track(client, name, user)
    again = RetryLater("HTTP 503", RESPONSE, after_s=60)
    service = Service(a0=again, b0=again, c0=again, d0=Delivered())

    work(client, configured(batch_order="trust"), service)

    assert service.requests[-1] == ["d0"]
    assert {name for names in service.requests for name in names} == {"a0", "b0", "c0", "d0"}
    figures = lanes.stats(queue_of(client, QUEUE))
    assert (figures.delivered_total, figures.claims, figures.delayed, figures.blocked) == (1, 0, 3, 3)


def test_what_follows_an_event_that_is_given_up_goes_back_to_its_place(client: redis.Redis) -> None:
    for name, user in [("a0", "a"), ("b0", "b"), ("c0", "c"), ("a1", "a")]:
        track(client, name, user)
    client.hset(f"{base(QUEUE)}:attempts", "1", ATTEMPTS)

    work(client, configured(batch_order="trust"), Service(a0=RetryLater("HTTP 503", RESPONSE)))

    figures = lanes.stats(queue_of(client, QUEUE))
    assert (figures.buried_total, figures.claims, figures.ready) == (1, 0, 1)


def alias(client: redis.Redis, old: str, new: str) -> None:
    event = {"type": "alias", "userId": new, "previousId": old, "messageId": f"{old} is {new}"}
    lanes.append(queue_of(client, QUEUE), [lanes.NewEvent(pack("web", event), (old, new), event["messageId"])])


def test_what_comes_after_a_merge_goes_to_the_person_who_remains(client: redis.Redis) -> None:
    track(client, "before", "old")
    alias(client, "old", "new")
    track(client, "after", "old")

    bodies = sent_by(client, configured())

    assert [body.get("identifiers") for body in bodies] == [{"id": "old"}, None, {"id": "new"}]


def test_a_late_event_of_a_deleted_person_is_dropped_and_a_new_one_is_not(client: redis.Redis) -> None:
    track(client, "User Deleted", "a", timestamp="2024-03-05T10:00:00Z")
    track(client, "late", "a", timestamp="2024-03-05T09:59:59Z")
    track(client, "back", "a", timestamp="2024-03-05T10:00:01Z")

    names = [body.get("name") for body in sent_by(client, configured())]

    assert names == [None, "back"]
    assert lanes.stats(queue_of(client, QUEUE)).delivered_total == 3


def test_a_late_event_of_a_deleted_person_is_buried_where_that_is_wanted(client: redis.Redis) -> None:
    track(client, "User Deleted", "a", timestamp="2024-03-05T10:00:00Z")
    track(client, "late", "a", timestamp="2024-03-05T09:59:59Z")

    sent_by(client, configured(after_deletion="bury"))

    assert [letter["class"] for letter in letters(client)] == ["deleted"]


def test_updates_of_one_person_within_a_second_differ_in_their_times(client: redis.Redis) -> None:
    now = int(time.time()) - 60
    for n in range(3):
        track(
            client,
            f"i{n}",
            "a",
            type="identify",
            traits={"plan": n},
            timestamp=f"{time.strftime('%FT%TZ', time.gmtime(now))}",
        )

    assert [body["timestamp"] - now for body in sent_by(client, configured())] == [0, 1, 2]


def test_an_update_after_a_merge_is_never_older_than_those_of_either(client: redis.Redis) -> None:
    """Who remains inherits attributes with their times."""
    now = int(time.time()) - 60
    for name, user, at in [("i0", "old", now), ("i1", "new", now - 30)]:
        timestamp = time.strftime("%FT%TZ", time.gmtime(at))
        track(client, name, user, type="identify", traits={"plan": name}, timestamp=timestamp)
        if user == "old":
            alias(client, "old", "new")

    first, _, second = sent_by(client, configured())

    assert second["timestamp"] > first["timestamp"] == now


def test_updates_keep_their_own_times_where_that_is_wanted(client: redis.Redis) -> None:
    for n in (2, 1):
        track(client, f"i{n}", "a", type="identify", traits={"plan": n}, timestamp=f"2024-03-05T10:00:0{n}Z")

    bodies = sent_by(client, configured(identify_times="mapped"))

    assert [body["timestamp"] % 60 for body in bodies] == [2, 1]
