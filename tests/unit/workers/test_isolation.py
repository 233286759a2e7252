"""One event, one fault: whatever fails for one event of a claim makes it a dead letter and touches no other event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import fakeredis
import orjson
import pytest
import redis

import lanes
import mapping
from dead_letters import burial, dry_run, query, record
from dead_letters.query import Filter
from dead_letters.record import DeadLetter
from delivery import attribute_clocks, identity_memory, recent_attributes, wire
from delivery import log as delivery_log
from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome, Rejected, Response
from delivery.recording.entries import Packer
from mapping.envelope import pack
from privacy import receipts
from tests.claims import LEASE_MS, deliver_events, deliver_one
from tests.logged import logged
from tests.queues import queue_of
from tests.secrets import CREDENTIALS
from workers.lease import Lease

QUEUE = "journeys"
OTHERS = 20
LONG = "b" * 1001


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


def destination(**delivery: Any) -> mapping.Destination:
    table = {**CREDENTIALS, "delivery": delivery}
    return mapping.destinations({"destinations": {QUEUE: table}})[QUEUE]


class Service:
    """Customer.io, which refuses an attribute of more than 1,000 bytes. Counts the accepted items by message id."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def __call__(self, request: Request) -> list[Outcome]:
        self.sent += [item.message_id.partition(":")[2] for item in request.items]
        refused = Rejected("attributes.bio: too long (invalid)", Response(207, "{}", 0))
        return [refused if LONG.encode() in item.data else Delivered() for item in request.items]


def append(client: redis.Redis, message_id: str, user: str, to: mapping.Destination, **members: Any) -> None:
    event = {"type": "identify", "userId": user, "messageId": message_id, "timestamp": "2026-01-05T12:00:00Z"} | members
    info = mapping.ordering_info(event, to)
    entry = lanes.NewEvent(pack("web", event), info.keys, message_id, join=info.join)
    lanes.append(queue_of(client, QUEUE), [entry])


def append_among_others(client: redis.Redis, to: mapping.Destination, **members: Any) -> list[str]:
    """Append an event of Odd among events of other people; return the message ids of the others."""
    names = [f"m{number}" for number in range(OTHERS)]
    for number, name in enumerate(names):
        if number == OTHERS // 2:
            append(client, "odd", "odd", to, **members)
        append(client, name, name, to, traits={"plan": "free"})
    return names


def dead_letters(client: redis.Redis) -> list[DeadLetter]:
    return list(query.matching(queue_of(client, QUEUE), Filter()))


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize("levels", [101, 150, 245, *range(247, 254)])
def test_a_stored_event_that_is_too_deep_to_be_encoded_is_a_dead_letter_that_says_so(
    client: redis.Redis, levels: int
) -> None:
    """orjson writes beyond its buffer from some 150 levels on; older versions accepted 251."""
    to, service = destination(), Service()
    others = append_among_others(client, to, traits={"bio": LONG, "d": nested(levels - 2)})

    deliver_one(queue_of(client, QUEUE), to, service)

    assert sorted(service.sent) == sorted(others)
    (dead,) = dead_letters(client)
    assert (dead.failure.reason, dead.failure.message) == ("invalid", "the event is nested in more than 99 levels")
    ((_, line),) = record.lines(QUEUE, [dead])
    assert orjson.loads(line)["event"] == dead.event
    assert record.Line.from_bytes(line).event == dead.event


def test_an_event_of_which_a_mapping_makes_too_much_is_a_dead_letter_without_it(client: redis.Redis) -> None:
    """A mapping can make many MB of an event of 30 KB."""
    flat = {
        "name": "Flat",
        "action": "trackEvent",
        "trigger": 'type = "track"',
        "mapping": {"name": "x", "data": {"@flatten": {"value": {"@path": "$.properties"}, "separator": "."}}},
    }
    table = {**CREDENTIALS, "subscriptions": [flat], "presets": {"Track Event": False}}
    to, service = mapping.destinations({"destinations": {QUEUE: table}})[QUEUE], Service()
    properties: Any = {f"a{number}": 1 for number in range(1_000)}
    for _ in range(50):
        properties = {"k" * 300: properties}
    others = append_among_others(client, to, type="track", event="x", properties=properties)

    deliver_one(queue_of(client, QUEUE), to, service)

    assert sorted(service.sent) == sorted(others)
    (dead,) = dead_letters(client)
    assert dead.failure.reason == "invalid"
    assert dead.failure.message.startswith("the operation of trackEvent has 15,")
    assert len(dead.stored.failure) < 1_000
    (again,) = dry_run.run(queue_of(client, QUEUE), [dead], to, 1.0)
    assert again.operations == ()
    assert again.failures == (dead.failure.message,)


@pytest.mark.parametrize("levels", [60, 90, 99])
def test_a_refused_event_of_many_levels_is_a_dead_letter_with_the_refusal(client: redis.Redis, levels: int) -> None:
    to, service = destination(), Service()
    others = append_among_others(client, to, traits={"bio": LONG, "d": nested(levels - 2)})

    deliver_one(queue_of(client, QUEUE), to, service)

    assert sorted(service.sent) == sorted([*others, "odd"])
    (dead,) = dead_letters(client)
    assert (dead.failure.reason, dead.failure.message) == ("rejected", "attributes.bio: too long (invalid)")
    assert dead.failure.expired_claims == 0
    assert dead.requests is not None
    ((_, line),) = record.lines(QUEUE, [dead])
    assert orjson.loads(line)["event"] == dead.event
    assert record.Line.from_bytes(line).event == dead.event


STAGES: dict[str, tuple[Any, str]] = {
    "mapping": (mapping, "translate"),
    "ids of events": (wire, "bodies"),
    "clocks": (attribute_clocks, "described"),
    "addresses": (wire, "addressed"),
    "what is registered": (identity_memory, "register"),
    "what is repeated": (recent_attributes, "repeat"),
}
AFTER_SENDING: dict[str, tuple[Any, str]] = {"what is remembered": (recent_attributes, "remember")}


def failing(function: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    """Return the function with the exception for whatever has to do with the event of Odd."""

    def failing_for_odd(*arguments: Any, **options: Any) -> Any:
        listed = [list(value) if hasattr(value, "__next__") else value for value in arguments]
        if "odd" in repr(listed) or (lanes.digest("id:odd").hex() in _hex(listed)):
            raise error
        return function(*listed, **options)

    return failing_for_odd


def _hex(values: Sequence[Any]) -> str:
    """Return the digests of the keys of updates, in hexadecimal."""
    return " ".join(key.hex() for value in values if isinstance(value, list) for each in value for key in _keys(each))


def _keys(value: Any) -> Sequence[bytes]:
    return value.keys if isinstance(value, identity_memory.Update) else ()


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), MemoryError("much"), KeyError("name"), RecursionError("deep")]
)
@pytest.mark.parametrize("stage", [*STAGES, *AFTER_SENDING])
def test_an_exception_of_one_event_is_its_dead_letter(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch, stage: str, error: Exception
) -> None:
    to, service = destination(), Service()
    others = append_among_others(client, to, traits={"plan": "odd"})
    module, name = (STAGES | AFTER_SENDING)[stage]
    monkeypatch.setattr(module, name, failing(getattr(module, name), error))

    deliver_one(queue_of(client, QUEUE), to, service)

    assert sorted(service.sent) == sorted([*others, "odd"] if stage in AFTER_SENDING else others)
    (dead,) = dead_letters(client)
    assert (dead.failure.reason, dead.failure.expired_claims) == ("internal", 0)
    assert dead.failure.message == f"unhandled exception: {type(error).__name__}: {error}"
    assert [request.action for request in dead.failure.accepted] == (
        ["createUpdatePerson"] if stage in AFTER_SENDING else []
    )
    stats = lanes.stats(queue_of(client, QUEUE))
    assert (stats.delivered_total, stats.waiting) == (OTHERS, 0)


def test_an_exception_blocks_the_events_behind_where_the_destination_says_so(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    to, service = destination(after_burial="hold", batch_order="trust"), Service()
    append(client, "odd", "jo", to)
    append(client, "behind", "jo", to)
    append(client, "other", "al", to)
    monkeypatch.setattr(wire, "bodies", failing(wire.bodies, RuntimeError("a bug")))

    deliver_one(queue_of(client, QUEUE), to, service)

    assert service.sent == ["other"]
    (dead,) = dead_letters(client)
    assert dead.blocks
    assert lanes.stats(queue_of(client, QUEUE)).blocked == 1


def test_an_exception_of_redis_buries_nothing(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    to = destination()
    append_among_others(client, to)
    monkeypatch.setattr(recent_attributes, "repeat", failing(recent_attributes.repeat, redis.ConnectionError("gone")))

    with pytest.raises(redis.ConnectionError):
        deliver_one(queue_of(client, QUEUE), to, Service())

    assert dead_letters(client) == []


def broken(*_: Any) -> None:
    raise RuntimeError("a bug")


def test_a_failure_that_cannot_be_recorded_gets_a_plain_record(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    to, service = destination(), Service()
    others = append_among_others(client, to, traits={"bio": LONG})
    monkeypatch.setattr(burial, "operations_of", broken)

    deliver_one(queue_of(client, QUEUE), to, service)

    assert sorted(service.sent) == sorted([*others, "odd"])
    (dead,) = dead_letters(client)
    text = "attributes.bio: too long (invalid)"
    assert (dead.failure.reason, dead.failure.message) == ("rejected", text)
    assert [(fault.action, fault.message) for fault in dead.failure.faults] == [("createUpdatePerson", text)]
    assert [attempt["reason"] for attempt in dead.failure.attempts] == [text]
    assert dead.event["userId"] == "odd"


def test_a_deletion_that_cannot_begin_its_erasure_is_its_own_dead_letter(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    to, service = destination(), Service()
    append(client, "odd", "odd", to, type="delete")
    append(client, "m1", "al", to, type="delete")
    monkeypatch.setattr(receipts, "mark_sent", failing(receipts.mark_sent, RuntimeError("a bug")))

    deliver_one(queue_of(client, QUEUE), to, service)

    assert sorted(service.sent) == ["m1", "odd"]
    assert [dead.event["userId"] for dead in dead_letters(client)] == ["odd"]
    assert len(receipts.unfinished(queue_of(client, QUEUE))) == 1


def test_a_request_that_cannot_be_logged_was_sent(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    to, service = destination(), Service()
    append(client, "m1", "al", to)
    queue = queue_of(client, QUEUE)
    claim = lanes.claim(queue, lease_ms=LEASE_MS, max_events=9, max_bytes=10**6, max_depth=9, poll_ms=0)
    recorder = delivery_log.Recorder(queue, claim, "worker")
    monkeypatch.setattr(Packer, "packed", lambda *_: 1 / 0)
    lease = Lease(queue=queue, claim_id=claim.id, lease_ms=LEASE_MS, requested_at=0.0)

    deliver_events(claim, queue, to, recorder.recording(service), lease=lease, before_settling=recorder.write)

    assert service.sent == ["m1"]
    assert lanes.stats(queue).delivered_total == 1
    assert [line["where"] for line in logged(caplog)] == ["an entry of the delivery log"]
