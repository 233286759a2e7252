"""One claim to its outcomes, with lanes over fakeredis and a `send` that responds as each test says."""

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
from delivery import retries, unsent
from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome, Paused, Rejected, Response, RetryLater, Send, Split
from lanes import keys
from lanes.keys import base
from mapping.envelope import pack
from tests.claims import LEASE_MS, deliver_events, deliver_one
from tests.logged import logged
from tests.queues import queue_of
from tests.secrets import CREDENTIALS
from workers.claim import MOST_EXPIRED_CLAIMS
from workers.lease import Lease, LeaseLost

QUEUE = "journeys"
RESPONSE = Response(503, "")
ATTEMPT = b'[1,"w","HTTP 503"]\n'
ATTEMPTS = ATTEMPT * (retries.MAX_ATTEMPTS - 1)


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


@pytest.fixture(scope="module")
def destination() -> mapping.Destination:
    document = {"destinations": {QUEUE: {**CREDENTIALS, "batch_items": 10}}}
    return mapping.destinations(document)[QUEUE]


class Service:
    """Customer.io as a test wants it: records the requests, responds by the name of each operation."""

    def __init__(self, **outcomes: Outcome) -> None:
        self.outcomes = outcomes
        self.requests: list[list[str]] = []

    def __call__(self, request: Request) -> list[Outcome]:
        names = [orjson.loads(item.data)["name"] for item in request.items]
        self.requests.append(names)
        return [self.outcomes.get(name, Delivered()) for name in names]


def track(client: redis.Redis, name: str, *users: str, **more: Any) -> None:
    """Append an event that is ordered by these users."""
    event = {"type": "track", "event": name, "userId": users[0], "messageId": name, "timestamp": "2024-03-05T10:20:30Z"}
    body = pack("website", event | more)
    lanes.append(queue_of(client, QUEUE), [lanes.NewEvent(body, users, name)])


def deliver(
    client: redis.Redis, destination: mapping.Destination, send: Send, is_stopping: Callable[[], bool] = lambda: False
) -> lanes.Claim:
    return deliver_one(queue_of(client, QUEUE), destination, send, is_stopping=is_stopping)


def failures(client: redis.Redis) -> list[dict[str, Any]]:
    """Return the failures of all dead letters."""
    return [orjson.loads(failure) for failure in client.hgetall(f"{base(QUEUE)}:failure").values()]


def test_each_depth_is_sent_after_the_responses_to_the_depth_before_it(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    for name, user in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a"), ("b2", "b")]:
        track(client, name, user)
    service = Service()

    deliver(client, destination, service)

    assert service.requests == [["a1", "b1"], ["a2", "b2"], ["a3"]]
    assert lanes.stats(queue_of(client, QUEUE)).delivered_total == 5


def test_a_depth_that_exceeds_a_request_is_sent_in_several_requests(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    for n in range(25):
        track(client, f"e{n}", f"user {n}")
    service = Service()

    deliver(client, destination, service)

    assert [len(names) for names in service.requests] == [10, 10, 5]


def test_a_failed_event_is_retried_and_only_the_events_that_follow_it_are_held_back(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    for name, user in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b")]:
        track(client, name, user)
    service = Service(a1=RetryLater("HTTP 503", RESPONSE, after_s=60))

    deliver(client, destination, service)

    assert service.requests == [["a1", "b1"], ["b2"]]
    figures = lanes.stats(queue_of(client, QUEUE))
    assert (figures.delivered_total, figures.delayed, figures.blocked, figures.released_total) == (2, 1, 1, 1)


def test_a_rejected_event_is_buried_and_the_events_that_follow_it_are_sent(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "bad", "a")
    track(client, "next", "a")
    service = Service(bad=Rejected("name: too long (invalid)", Response(207, "{}")))

    deliver(client, destination, service)

    assert service.requests == [["bad"], ["next"]]
    (failure,) = failures(client)
    assert (failure["class"], failure["message"]) == ("rejected", "name: too long (invalid)")
    assert failure["faults"][0]["request"]["name"] == "bad"
    assert failure["faults"][0]["response"] == {"status": 207, "body": "{}", "batch_index": None}


def test_an_event_that_cannot_be_mapped_is_buried_with_the_mapping_error(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "ignored", "a", type="page", properties={})
    service = Service()

    deliver(client, destination, service)

    assert service.requests == []
    (failure,) = failures(client)
    assert failure["class"] == "invalid"
    assert "missing the required field 'url'" in failure["message"]


def test_the_failure_of_a_partly_mapped_event_lists_the_accepted_operations(client: redis.Redis) -> None:
    page = {"name": "Pages too", "action": "trackPageView", "trigger": 'type = "track"', "mapping": {"url": "$.absent"}}
    document = {"destinations": {QUEUE: {**CREDENTIALS, "subscriptions": [page]}}}
    track(client, "bought", "a", properties={"price": 3})

    deliver(client, mapping.destinations(document)[QUEUE], Service())

    (failure,) = failures(client)
    assert [(fault["subscription"], "request" in fault) for fault in failure["faults"]] == [("Pages too", False)]
    (accepted,) = failure["accepted"]
    assert (accepted["subscription"], accepted["request"]["name"]) == ("Track Event", "bought")
    assert accepted["payload"]["data"] == {"price": 3}


def test_a_recorded_request_keeps_its_payload_when_its_subscription_was_removed(
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
        for name in ("first", "second")
    ]
    event = {"type": "track", "event": "Bought", "userId": "jo", "messageId": "m1"}
    body = pack("website", event, {"requests": stored})
    lanes.append(queue_of(client, QUEUE), [lanes.NewEvent(body, ("id:jo",), "m1")])
    refused = Rejected("no", Response(400, "no"))

    deliver(client, destination, Service(first=refused, second=refused))

    (failure,) = failures(client)
    assert [fault["payload"] for fault in failure["faults"]] == [{"name": "first"}, {"name": "second"}]


def test_a_rejected_deletion_request_becomes_a_dead_letter(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    body = pack("website", {"type": "delete", "userId": "jo", "messageId": "m1"})
    lanes.append(queue_of(client, QUEUE), [lanes.NewEvent(body, ("id:jo",), "m1")])

    deliver(client, destination, lambda request: [Rejected("no", Response(400, "no"))] * len(request.items))

    (failure,) = failures(client)
    (fault,) = failure["faults"]
    assert (fault["action"], fault["payload"]) == ("deletePerson", None)
    assert fault["request"] == {"type": "person", "action": "delete", "identifiers": {"id": "jo"}}


def test_an_update_without_identifiers_is_sent_and_rejected(client: redis.Redis) -> None:
    update = {
        "name": "Without identifiers",
        "action": "createUpdatePerson",
        "trigger": 'type = "identify"',
        "mapping": {"id": "$.absent"},
    }
    table = {**CREDENTIALS, "subscriptions": [update], "presets": {"Create or Update Person": False}}
    track(client, "m1", "jo", type="identify", traits={"plan": "free"})

    refused = Rejected("no", Response(400, "no"))
    deliver(client, mapping.destinations({"destinations": {QUEUE: table}})[QUEUE], lambda _: [refused])

    (failure,) = failures(client)
    (fault,) = failure["faults"]
    assert failure["class"] == "rejected"
    assert "identifiers" not in fault["request"]


def test_an_event_that_matches_no_subscription_leaves_the_queue_as_unmatched(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "ignored", "a", type="unheard of")

    deliver(client, destination, Service())

    assert fates_of(client) == [("unmatched", "website", "", 1)]
    assert lanes.stats(queue_of(client, QUEUE)).delivered_total == 0


def test_a_request_without_a_response_is_sent_again_with_the_same_bytes(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "a1", "a")
    bodies: list[bytes] = []

    def send(request: Request) -> list[Outcome]:
        bodies.append(request.body())
        return [RetryLater("no response", Response(None, "reset"))] if len(bodies) == 1 else [Delivered()]

    deliver(client, destination, send)

    assert bodies == [bodies[0]] * 2
    assert lanes.stats(queue_of(client, QUEUE)).delivered_total == 1


def test_a_request_that_is_refused_as_a_whole_is_halved_in_order_until_the_bad_item_is_alone(
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

    deliver(client, destination, send)

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

    deliver(client, configured(batch_order="trust", batch_items=4), send)

    assert sent[0] == ["a0", "b0", "c0", "a1"]
    assert sent[-1] == ["c0"]
    assert lanes.stats(queue_of(client, QUEUE)).delivered_total == 1


def test_refused_credentials_spend_no_attempt_and_bury_no_event(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "a1", "a")

    deliver(client, destination, Service(a1=Paused("HTTP 401", Response(401, ""))))

    figures = lanes.stats(queue_of(client, QUEUE))
    assert (figures.ready, figures.dead) == (1, 0)
    assert client.hgetall(f"{base(QUEUE)}:attempts") == {}


def test_an_event_that_was_tried_too_often_is_buried_as_exhausted(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "a1", "a")
    client.hset(f"{base(QUEUE)}:attempts", "1", ATTEMPTS)

    deliver(client, destination, Service(a1=RetryLater("HTTP 503", RESPONSE)))

    (failure,) = failures(client)
    assert (failure["class"], len(failure["attempts"])) == ("exhausted", retries.MAX_ATTEMPTS)
    assert failure["attempts"][0] == {"at_ms": 1, "worker": "w", "reason": "HTTP 503"}
    assert failure["attempts"][-1]["worker"] == failure["worker"]


@pytest.mark.parametrize(("tried", "is_buried"), [(0, False), (retries.LEAST_ATTEMPTS - 1, True)])
def test_an_old_event_is_buried_after_fewer_attempts_but_not_after_one(
    client: redis.Redis, destination: mapping.Destination, monkeypatch: pytest.MonkeyPatch, tried: int, is_buried: bool
) -> None:
    """It may have waited for hours for a service that was down, and the first response after that may be an error."""
    track(client, "a1", "a")
    client.hset(f"{base(QUEUE)}:attempts", "1", ATTEMPT * tried)
    monkeypatch.setattr(retries, "MAX_AGE_S", -1)

    deliver(client, destination, Service(a1=RetryLater("HTTP 503", RESPONSE)))

    assert [failure["class"] for failure in failures(client)] == ["exhausted"] * is_buried


def test_a_throttled_event_spends_no_attempt_however_often_it_is_throttled(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "a1", "a")
    client.hset(f"{base(QUEUE)}:attempts", "1", ATTEMPTS)

    deliver(client, destination, Service(a1=RetryLater("HTTP 429", Response(429, ""))))

    assert lanes.stats(queue_of(client, QUEUE)).dead == 0
    assert client.hget(f"{base(QUEUE)}:attempts", "1") == ATTEMPTS


def test_an_event_whose_claims_expired_too_often_is_buried_unsent(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "poison", "a")
    client.hset(f"{base(QUEUE)}:expired_claims", "1", b"7000 id/w1\n" * MOST_EXPIRED_CLAIMS)
    service = Service()

    deliver(client, destination, service)

    assert service.requests == []
    (failure,) = failures(client)
    assert (failure["class"], failure["expired_claims"]) == ("poison", MOST_EXPIRED_CLAIMS)
    assert [(attempt["at_ms"], attempt["worker"]) for attempt in failure["attempts"]] == [
        (7000, "w1")
    ] * MOST_EXPIRED_CLAIMS


def test_an_erased_event_whose_claims_expired_too_often_leaves_no_dead_letter(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    """It has no body, so nothing is left to be sent or kept."""
    track(client, "erased", "a")
    queue = queue_of(client, QUEUE)
    lanes.claim(queue, lease_ms=1, max_events=9, max_bytes=10**6, max_depth=0, poll_ms=0)
    lanes.erase(queue, [lanes.digest("a")])
    client.zadd(f"{base(QUEUE)}:claims", dict.fromkeys(client.zrange(f"{base(QUEUE)}:claims", 0, -1), 0))
    lanes.reap(queue)
    client.hset(f"{base(QUEUE)}:expired_claims", "1", b"7000 id/w1\n" * MOST_EXPIRED_CLAIMS)

    deliver(client, destination, Service())

    figures = lanes.stats(queue)
    assert (figures.dead, figures.waiting, figures.claims) == (0, 0, 0)


def test_a_stopping_worker_releases_what_it_has_not_sent(client: redis.Redis, destination: mapping.Destination) -> None:
    track(client, "a1", "a")
    track(client, "a2", "a")
    service = Service()

    deliver(client, destination, service, is_stopping=lambda: True)

    assert service.requests == []
    figures = lanes.stats(queue_of(client, QUEUE))
    assert (figures.ready, figures.blocked, figures.claims) == (1, 1, 0)
    assert client.hgetall(f"{base(QUEUE)}:attempts") == {}


def test_a_worker_that_stops_during_a_request_sends_no_other_and_releases_the_rest(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    for n in range(25):
        track(client, f"e{n}", f"user {n}")
    service = Service()

    deliver(client, destination, service, is_stopping=lambda: len(service.requests) > 0)

    assert [len(names) for names in service.requests] == [10], "the request in progress was finished"
    figures = lanes.stats(queue_of(client, QUEUE))
    assert (figures.delivered_total, figures.ready, figures.claims) == (10, 15, 0)
    assert client.hgetall(f"{base(QUEUE)}:attempts") == {}


def test_before_settling_is_called_before_each_settlement(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    """The delivery log is written there. When no event of a person is in progress, it has all of their requests."""
    track(client, "a1", "a")
    track(client, "b1", "b")
    track(client, "b2", "b")
    service = Service(a1=RetryLater("HTTP 503", RESPONSE, after_s=60.0))
    calls: list[tuple[int, int]] = []

    def before_settling() -> None:
        calls.append((len(service.requests), lanes.stats(queue_of(client, QUEUE)).claimed))

    deliver_one(queue_of(client, QUEUE), destination, service, before_settling=before_settling)

    assert calls == [(1, 3), (2, 1)]


def test_nothing_is_sent_after_the_lease_was_lost(client: redis.Redis, destination: mapping.Destination) -> None:
    track(client, "a1", "a")
    queue = queue_of(client, QUEUE)
    claim = lanes.claim(queue, lease_ms=1, max_events=9, max_bytes=10**6, max_depth=0, poll_ms=0)
    client.zadd(f"{base(QUEUE)}:claims", {claim.id: 0})
    lanes.reap(queue)
    lease = Lease(queue=queue, claim_id=claim.id, lease_ms=1, requested_at=0.0)
    service = Service()

    with pytest.raises(LeaseLost):
        deliver_events(claim, queue, destination, service, lease=lease)

    assert service.requests == []


def test_a_lease_that_is_too_short_for_a_request_is_extended_before_it(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "a1", "a")
    queue = queue_of(client, QUEUE)
    claim = lanes.claim(queue, lease_ms=500, max_events=9, max_bytes=10**6, max_depth=0, poll_ms=0)
    lease = Lease(queue=queue, claim_id=claim.id, lease_ms=LEASE_MS, requested_at=-1e9)
    before = client.zscore(f"{base(QUEUE)}:claims", claim.id)
    ends: list[float | None] = []

    def send(_: Request) -> list[Outcome]:
        ends.append(client.zscore(f"{base(QUEUE)}:claims", claim.id))
        return [Delivered()]

    deliver_events(claim, queue, destination, send, lease=lease)

    assert before is not None
    assert ends[0] is not None
    assert ends[0] > before + 50_000


def configured(batch_items: int = 3, **delivery: Any) -> mapping.Destination:
    table = {**CREDENTIALS, "batch_items": batch_items, "delivery": delivery}
    return mapping.destinations({"destinations": {QUEUE: table}})[QUEUE]


def deliver_all(client: redis.Redis, destination: mapping.Destination) -> list[dict[str, Any]]:
    """Deliver all claims, and return the bodies that were sent."""
    bodies: list[dict[str, Any]] = []

    def send(request: Request) -> list[Outcome]:
        bodies.extend(orjson.loads(item.data) for item in request.items)
        return [Delivered()] * len(request.items)

    while deliver(client, destination, send).events:
        pass
    return bodies


def test_a_chain_shares_requests_where_the_order_within_a_request_is_trusted(client: redis.Redis) -> None:
    for n in range(5):
        track(client, f"a{n}", "a")
    track(client, "b0", "b")
    service = Service()

    deliver(client, configured(batch_order="trust"), service)

    assert service.requests == [["a0", "b0", "a1"], ["a2", "a3", "a4"]]


def test_no_event_overtakes_one_that_must_be_sent_again_where_the_order_within_a_request_is_trusted(
    client: redis.Redis,
) -> None:
    for name, user in [("a0", "a"), ("b0", "b"), ("c0", "c"), ("a1", "a"), ("a2", "a"), ("b1", "b"), ("d0", "d")]:
        track(client, name, user)
    again = RetryLater("HTTP 503", RESPONSE, after_s=60)
    service = Service(a0=again, b0=again, c0=again, d0=Delivered())

    deliver(client, configured(batch_order="trust"), service)

    assert service.requests[-1] == ["d0"]
    assert {name for names in service.requests for name in names} == {"a0", "b0", "c0", "d0"}
    figures = lanes.stats(queue_of(client, QUEUE))
    assert (figures.delivered_total, figures.claims, figures.delayed, figures.blocked) == (1, 0, 3, 3)


def test_an_event_that_is_held_back_holds_back_the_events_that_follow_it_by_another_key(client: redis.Redis) -> None:
    """The three stand in one claim, where the order within a request is trusted, and in two requests."""
    for name, users in [("a0", "a"), ("c0", "c"), ("d0", "d"), ("ab", "ab"), ("b1", "b")]:
        track(client, name, *users)
    service = Service(a0=RetryLater("HTTP 503", RESPONSE, after_s=60))

    deliver(client, configured(batch_order="trust"), service)

    assert "b1" not in {name for names in service.requests for name in names}, "it would overtake the event ab"
    figures = lanes.stats(queue_of(client, QUEUE))
    assert (figures.claims, figures.blocked, figures.delayed) == (0, 2, 1)


def test_the_events_that_follow_an_exhausted_one_in_its_requests_are_released(client: redis.Redis) -> None:
    for name, user in [("a0", "a"), ("b0", "b"), ("c0", "c"), ("a1", "a")]:
        track(client, name, user)
    client.hset(f"{base(QUEUE)}:attempts", "1", ATTEMPTS)

    deliver(client, configured(batch_order="trust"), Service(a0=RetryLater("HTTP 503", RESPONSE)))

    figures = lanes.stats(queue_of(client, QUEUE))
    assert (figures.buried_total, figures.claims, figures.ready) == (1, 0, 1)


def alias(client: redis.Redis, old: str, new: str) -> None:
    event = {"type": "alias", "userId": new, "previousId": old, "messageId": f"{old} is {new}"}
    lanes.append(queue_of(client, QUEUE), [lanes.NewEvent(pack("web", event), (old, new), event["messageId"])])


def test_an_event_after_a_merge_names_the_primary(client: redis.Redis) -> None:
    track(client, "before", "old")
    alias(client, "old", "new")
    track(client, "after", "old")

    bodies = deliver_all(client, configured())

    assert [body.get("identifiers") for body in bodies] == [{"id": "old"}, None, {"id": "new"}]


def test_an_event_from_before_a_deletion_is_dropped_and_one_from_after_it_is_sent(client: redis.Redis) -> None:
    track(client, "User Deleted", "a", timestamp="2024-03-05T10:00:00Z")
    track(client, "late", "a", timestamp="2024-03-05T09:59:59Z")
    track(client, "back", "a", timestamp="2024-03-05T10:00:01Z")

    names = [body.get("name") for body in deliver_all(client, configured())]

    assert names == [None, "back"]
    assert fates_of(client) == [("dropped", "website", "late for a deleted person", 1), ("sent", "website", "", 2)]
    assert lanes.stats(queue_of(client, QUEUE)).delivered_total == 2


def test_an_event_from_before_a_deletion_is_buried_where_the_destination_says_so(client: redis.Redis) -> None:
    track(client, "User Deleted", "a", timestamp="2024-03-05T10:00:00Z")
    track(client, "late", "a", timestamp="2024-03-05T09:59:59Z")

    deliver_all(client, configured(after_deletion="bury"))

    assert [failure["class"] for failure in failures(client)] == ["deleted"]


def test_a_buried_event_from_before_a_deletion_blocks_those_that_follow_it_where_the_destination_says_so(
    client: redis.Redis,
) -> None:
    to = configured(after_deletion="bury", after_burial="hold", batch_order="trust")
    track(client, "User Deleted", "a", timestamp="2024-03-05T10:00:00Z")
    deliver_all(client, to)
    track(client, "late", "a", timestamp="2024-03-05T09:59:59Z")
    track(client, "next", "a", timestamp="2024-03-05T10:00:01Z")

    assert deliver_all(client, to) == []
    figures = lanes.stats(queue_of(client, QUEUE))
    assert (figures.dead, figures.claims, figures.waiting) == (1, 0, 1)


def test_updates_of_one_person_within_a_second_have_different_times(client: redis.Redis) -> None:
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

    assert [body["timestamp"] - now for body in deliver_all(client, configured())] == [0, 1, 2]


def test_an_update_after_a_merge_is_newer_than_the_updates_of_both_people(client: redis.Redis) -> None:
    """The primary inherits attributes with their times."""
    now = int(time.time()) - 60
    for name, user, at in [("i0", "old", now), ("i1", "new", now - 30)]:
        timestamp = time.strftime("%FT%TZ", time.gmtime(at))
        track(client, name, user, type="identify", traits={"plan": name}, timestamp=timestamp)
        if user == "old":
            alias(client, "old", "new")

    first, _, second = deliver_all(client, configured())

    assert second["timestamp"] > first["timestamp"] == now


def test_updates_keep_their_own_times_where_the_destination_says_so(client: redis.Redis) -> None:
    for n in (2, 1):
        track(client, f"i{n}", "a", type="identify", traits={"plan": n}, timestamp=f"2024-03-05T10:00:0{n}Z")

    bodies = deliver_all(client, configured(identify_times="mapped"))

    assert [body["timestamp"] % 60 for body in bodies] == [2, 1]


def test_an_excluded_event_sends_nothing_leaves_no_dead_letter_and_is_counted_as_filtered(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    service, queue = Service(), queue_of(client, QUEUE)
    track(client, "Secret", "u", integrations={"All": False})
    track(client, "Public", "u", integrations={"All": True})

    deliver_one(queue, destination, service)

    stats = lanes.stats(queue)
    assert service.requests == [["Public"]]
    assert (stats.waiting, stats.delivered_total, stats.dead) == (0, 1, 0)
    assert fates_of(client) == [("filtered", "website", "integrations.All is false", 1), ("sent", "website", "", 1)]


def test_an_event_that_a_filter_drops_is_counted_as_filtered(client: redis.Redis) -> None:
    table = {**CREDENTIALS, "filters": [{"if": "event = 'Moved'", "action": "drop"}]}
    destination, queue = mapping.destinations({"destinations": {QUEUE: table}})[QUEUE], queue_of(client, QUEUE)
    track(client, "Moved", "u")

    deliver_one(queue, destination, Service())

    assert fates_of(client) == [("filtered", "website", "filter: drop if event = 'Moved'", 1)]


def test_an_install_without_a_token_blocks_no_event_and_is_counted_by_its_subscription(client: redis.Redis) -> None:
    table = {**CREDENTIALS, "delivery": {"after_burial": "hold"}}
    destination, queue = mapping.destinations({"destinations": {QUEUE: table}})[QUEUE], queue_of(client, QUEUE)
    service = Service()
    for name in ("Application Installed", "Signed Up", "Application Opened"):
        track(client, name, "u")

    while deliver_one(queue, destination, service).events:
        pass

    stats = lanes.stats(queue)
    assert service.requests == [["Signed Up"]]
    assert (stats.waiting, stats.dead, stats.blocking) == (0, 0, 0)
    assert unsent.totals(queue) == {"Create or Update Device": 2}
    assert fates_of(client) == [("sent", "website", "", 1), ("unmatched", "website", "Create or Update Device", 2)]


def test_an_event_that_the_claim_lost_is_not_counted(client: redis.Redis, destination: mapping.Destination) -> None:
    """The claim that owns it now counts it."""
    queue = queue_of(client, QUEUE)
    track(client, "Secret", "u", integrations={"All": False})

    deliver_one(queue, destination, Service(), before_settling=lambda: lose_every_claim(client))

    assert fates_of(client) == []


@pytest.mark.parametrize("after_burial", ["go_on", "hold"])
def test_a_burial_that_the_client_repeats_is_not_lost(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, after_burial: str
) -> None:
    """The client repeats a script when a connection breaks, also after Redis ran it."""
    document = {"destinations": {QUEUE: {**CREDENTIALS, "delivery": {"after_burial": after_burial}}}}
    settle = lanes.settle

    def settle_twice(*arguments: Any, **options: Any) -> lanes.Settled:
        settle(*arguments, **options)
        return settle(*arguments, **options)

    monkeypatch.setattr(lanes, "settle", settle_twice)
    track(client, "refused", "a")

    deliver(client, mapping.destinations(document)[QUEUE], Service(refused=Rejected("no", Response(400, "no"))))

    assert [line["sequence"] for line in logged(caplog, "event_buried")] == [1]
    assert logged(caplog, "claim_lost") == []


def test_a_dead_letter_is_counted_by_its_source_and_reason(
    client: redis.Redis, destination: mapping.Destination
) -> None:
    track(client, "refused", "a")

    deliver(client, destination, Service(refused=Rejected("no", Response(400, "no"))))

    assert fates_of(client) == [("dead", "website", "rejected", 1)]


def fates_of(client: redis.Redis) -> list[tuple[str, str, str, int]]:
    """Return how many events had which fate: fate, source, reason, number."""
    return [tuple(count) for count in lanes.fate_totals(queue_of(client, QUEUE)) if count.fate != "accepted"]


def lose_every_claim(client: redis.Redis) -> None:
    """Let all claims expire, and return their events to the lanes."""
    for claim_id in client.zrange(keys.CLAIMS.of(QUEUE), 0, -1):
        client.zadd(keys.CLAIMS.of(QUEUE), {claim_id: 0})
    lanes.reap(queue_of(client, QUEUE))
