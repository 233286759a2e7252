"""One event: which are refused and with which text, what is added, and which time it gets."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from ingest.errors import Refusal
from ingest.events import MAX_LEVELS, Reception, as_stored, completed, may_be_deep, shared
from ingest.times import instant

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
TRACK = {"type": "track", "event": "Bought", "userId": "1"}


def complete(event: Any, shared: dict[str, Any] | None = None, **how: Any) -> dict[str, Any]:
    common = shared or {}
    return completed(event, Reception(NOW, common=common, sent_at=instant(common.get("sentAt")), **how))[0]


def remarks(event: Any, **how: Any) -> tuple[str, ...]:
    return completed(event, Reception(NOW, **how))[2]


@pytest.mark.parametrize(
    ("event", "field", "text"),
    [
        ("text", None, "the event must be a JSON object"),
        ({"userId": "1"}, "type", "type: is missing; must be one of identify, track"),
        ({"type": "dance", "userId": "1"}, "type", "page, screen, group, alias, delete, not 'dance'"),
        ({"type": "identify"}, "userId", "userId: is missing; an event needs a userId or an anonymousId"),
        ({"type": "identify", "userId": ""}, "userId", "userId: is missing; an event needs a userId or an anonymousId"),
        ({"type": "identify", "userId": {"a": 1}}, "userId", "userId: must be a string or a number, not {'a': 1}"),
        ({"type": "identify", "userId": True}, "userId", "userId: must be a string or a number, not True"),
        ({"type": "track", "userId": "1"}, "event", "event: is missing; must be a string, the name of the event"),
        (TRACK | {"event": 5}, "event", "event: must be a string, the name of the event, not 5"),
        ({"type": "alias", "userId": "1"}, "previousId", "an alias needs both"),
        ({"type": "alias", "previousId": "1"}, "userId", "an alias needs both"),
        ({"type": "group", "userId": "1"}, "groupId", "groupId: is missing; a group call needs a groupId"),
        ({"type": "delete", "anonymousId": "1"}, "userId", "userId: is missing; a deletion request needs a userId"),
        ({"type": "segue privacy request", "userId": "1"}, "type", "must be one of"),
        (TRACK | {"properties": "x"}, "properties", "properties: must be an object, not 'x'"),
        ({"type": "page", "userId": "1", "properties": [1]}, "properties", "properties: must be an object, not [1]"),
        ({"type": "identify", "userId": "1", "traits": ["a"]}, "traits", "traits: must be an object, not ['a']"),
        ({"type": "group", "userId": "1", "groupId": 1, "traits": True}, "traits", "traits: must be an object"),
        ({"type": "identify", "userId": True, "anonymousId": "a"}, "userId", "userId: must be a string or a number"),
        (TRACK | {"messageId": [1]}, "messageId", "messageId: must be a string or a number, not [1]"),
        (TRACK | {"properties": {"a": "x" * 32_768}}, None, "the event must have at most 32,768 bytes, not 32,836"),
    ],
)
def test_an_invalid_event_is_refused_with_the_field(event: Any, field: str | None, text: str) -> None:
    with pytest.raises(Refusal) as refused:
        as_stored("web", complete(event), event)

    assert (refused.value.status, refused.value.field) == (400, field)
    assert text in refused.value.message


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("member", ["type", "event", "userId", "messageId"])
def test_a_value_that_is_nested_too_deeply_to_be_shown_is_refused(member: str, opening: str, closing: str) -> None:
    deep = orjson.loads(opening * 1_000 + "1" + closing * 1_000)

    with pytest.raises(Refusal) as refused:
        complete(TRACK | {member: deep})

    assert (refused.value.status, refused.value.field) == (400, member)
    assert len(refused.value.message) < 150


def test_an_event_gets_a_message_id_and_times() -> None:
    event = complete(TRACK)

    assert event["timestamp"] == event["receivedAt"] == "2026-01-05T12:00:00.000Z"
    assert event["messageId"].startswith("segue-")
    assert complete(TRACK)["messageId"] != event["messageId"]


def test_an_event_keeps_its_message_id_and_loses_the_write_key() -> None:
    event = complete(TRACK | {"messageId": "m1", "writeKey": "secret"})

    assert event["messageId"] == "m1"
    assert "writeKey" not in event


def test_the_context_of_a_batch_applies_to_its_events_below_their_own() -> None:
    shared = {"context": {"ip": "1.1.1.1", "locale": "de"}, "integrations": {"All": True}}

    event = complete(TRACK | {"context": {"locale": "fr"}}, shared)

    assert event["context"] == {"ip": "1.1.1.1", "locale": "fr"}
    assert event["integrations"] == {"All": True}


@pytest.mark.parametrize(
    "members",
    [
        {"traits": ["a"]},
        {"traits": "x", "integrations": True},
        {"context": ["a"]},
        {"context": "x"},
        {"integrations": ["All"]},
        {"properties": []},
        {"properties": ""},
        {"properties": None},
        {"type": "identify", "properties": [1]},
        {"type": "identify", "traits": []},
        {"type": "alias", "previousId": "2", "traits": "x", "properties": 5},
        {"type": "delete", "traits": 1, "properties": 1, "context": 1},
    ],
)
@pytest.mark.parametrize("shared", [{}, {"context": {"locale": "de"}, "integrations": {"All": True}}])
def test_a_shape_that_no_mapping_uses_refuses_no_event(members: dict[str, Any], shared: dict[str, Any]) -> None:
    event = complete(TRACK | members, shared)

    assert event["userId"] == "1"
    assert isinstance(event.get("context", {}), dict)
    assert isinstance(event.get("properties", {}), dict) or event["type"] != "track"
    assert isinstance(event.get("traits", {}), dict) or event["type"] != "identify"


@pytest.mark.parametrize("context", [None, [], 0, False, ""])
def test_a_context_that_is_no_object_is_none(context: Any) -> None:
    assert "context" not in complete(TRACK | {"context": context})
    assert complete(TRACK | {"context": context}, {"context": {"locale": "de"}})["context"] == {"locale": "de"}
    assert "context" not in complete(TRACK, {"context": context})


def test_personas_that_are_null_are_none() -> None:
    assert complete(TRACK | {"context": {"personas": None, "locale": "de"}})["context"] == {"locale": "de"}
    assert complete(TRACK, {"context": {"personas": None}})["context"] == {}


def test_the_address_of_a_device_is_added_to_a_live_event() -> None:
    event = TRACK | {"context": {"library": {"name": "analytics.js"}}}

    assert complete(event, ip="8.8.8.8")["context"]["ip"] == "8.8.8.8"
    assert complete(TRACK, {"context": event["context"]}, ip="8.8.8.8")["context"]["ip"] == "8.8.8.8"
    assert (
        complete(event | {"context": event["context"] | {"ip": "1.1.1.1"}}, ip="8.8.8.8")["context"]["ip"] == "1.1.1.1"
    )
    assert "ip" not in complete(event | {"receivedAt": "2026-01-05T11:00:00Z"}, ip="8.8.8.8")["context"]
    assert "ip" not in complete(event)["context"]


def test_the_traits_of_an_identify_may_be_in_its_context() -> None:
    context = {"traits": {"email": "r1@shop.example", "id": 2**53 + 1}}
    identify = {"type": "identify", "userId": "r1"}

    for event in (identify, identify | {"traits": None}):
        assert complete(event | {"context": context})["traits"] == context["traits"] | {"id": "9007199254740993"}
    assert complete(identify, {"context": context})["traits"]["email"] == "r1@shop.example"
    assert complete(identify | {"context": context, "traits": {}})["traits"] == {}
    assert "traits" not in complete(TRACK | {"context": context})
    assert "traits" not in complete(identify | {"context": {"traits": "x"}})


@pytest.mark.parametrize(
    ("timestamp", "sent_at", "expected"),
    [
        ("2026-01-05T11:00:00Z", None, "2026-01-05T11:00:00.000Z"),
        ("2026-01-05T11:00:00.500+01:00", None, "2026-01-05T10:00:00.500Z"),
        (1767610800, None, "2026-01-05T11:00:00.000Z"),
        ("2026-01-05T11:00:00Z", "2026-01-05T11:59:30Z", "2026-01-05T11:00:00.000Z"),
        ("2026-01-05T11:49:00Z", "2026-01-05T11:50:00Z", "2026-01-05T11:49:00.000Z"),
        ("2026-01-05T12:50:00Z", "2026-01-05T13:00:00Z", "2026-01-05T11:50:00.000Z"),
        ("2026-01-05T12:50:00Z", 1767618000000, "2026-01-05T11:50:00.000Z"),
        ("1999-01-01T00:00:00Z", "1999-01-01T00:00:10Z", "2026-01-05T11:59:50.000Z"),
        ("0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        # no event is sent before it happened: times of two clocks, or a `sentAt` that was never set
        ("2026-01-05T11:00:00Z", "0001-01-01T00:00:00Z", "2026-01-05T11:00:00.000Z"),
        ("2026-01-05T11:00:00Z", "1970-01-01T00:00:00Z", "2026-01-05T11:00:00.000Z"),
        ("2026-01-05T11:00:00Z", "2026-01-05T09:00:00Z", "2026-01-05T11:00:00.000Z"),
        ("2026-01-05T09:00:02Z", "2026-01-05T09:00:00Z", "2026-01-05T12:00:02.000Z"),
        ("half past nine", "2026-01-05T13:00:00Z", "2026-01-05T12:00:00.000Z"),
        (None, "2026-01-05T13:00:00Z", "2026-01-05T12:00:00.000Z"),
        ("", None, "2026-01-05T12:00:00.000Z"),
    ],
)
def test_the_time_of_an_event_is_by_the_clock_of_the_server(timestamp: Any, sent_at: Any, expected: str) -> None:
    event = {name: value for name, value in (TRACK | {"timestamp": timestamp}).items() if value is not None}

    assert complete(event, {"sentAt": sent_at})["timestamp"] == expected
    assert complete(event | {"sentAt": sent_at})["timestamp"] == expected


def test_the_time_as_the_client_wrote_it_is_kept() -> None:
    raw = "2026-01-05T12:50:00+00:00"
    event = complete(TRACK | {"timestamp": raw}, {"sentAt": "2026-01-05T13:00:00Z"})

    assert event["originalTimestamp"] == raw
    assert event["sentAt"] == "2026-01-05T13:00:00Z"
    assert complete(TRACK | {"timestamp": 1767610800})["originalTimestamp"] == 1767610800
    assert complete(TRACK | {"originalTimestamp": raw, "timestamp": "2026-01-05T11:00:00Z"})["originalTimestamp"] == raw
    assert complete(TRACK | {"sentAt": "a"}, {"sentAt": "b"})["sentAt"] == "a"
    assert not {"originalTimestamp", "sentAt"} & complete(TRACK).keys()


def test_a_time_may_be_in_original_timestamp_only() -> None:
    event = complete(TRACK | {"originalTimestamp": "2026-01-05T11:00:00Z", "timestamp": None})

    assert event["timestamp"] == "2026-01-05T11:00:00.000Z"


def test_a_leap_second_is_stored_as_a_time_that_javascript_reads() -> None:
    assert complete(TRACK | {"timestamp": "2016-12-31T23:59:60.000Z"})["timestamp"] == "2017-01-01T00:00:00.000Z"


@pytest.mark.parametrize("timestamp", ["2099-01-01T00:00:00Z", "2026-01-19T12:00:00Z", 4070908800, 4070908800000])
@pytest.mark.parametrize("how", [{}, {"origin": "import"}, {"origin": "webhook"}])
@pytest.mark.parametrize("kind", ["identify", "track", "page", "screen", "group", "alias", "delete"])
def test_a_time_after_the_receipt_is_that_of_the_receipt(timestamp: Any, how: dict[str, Any], kind: str) -> None:
    event = TRACK | {"type": kind, "previousId": "2", "groupId": "3", "timestamp": timestamp}

    assert complete(event, **how)["timestamp"] == "2026-01-05T12:00:00.000Z"
    assert complete(event, **how)["originalTimestamp"] == timestamp
    assert remarks(event, **how) == ("future_times",)
    assert remarks(event | {"timestamp": "2026-01-05T12:00:01Z"}, **how) == ()


@pytest.mark.parametrize("timestamp", ["half past nine", 0, True, [1], "2016-07-18T25:00:00Z"])
def test_a_time_that_cannot_be_read_is_counted_and_refused_in_an_import(timestamp: Any) -> None:
    for name in ("timestamp", "originalTimestamp"):
        for how in ({}, {"origin": "webhook"}):
            assert remarks(TRACK | {name: timestamp}, **how) == ("unreadable_times",)
        with pytest.raises(Refusal, match=f"{name}: must be a time") as refused:
            complete(TRACK | {name: timestamp}, origin="import")
        assert (refused.value.status, refused.value.field) == (400, name)


@pytest.mark.parametrize(
    ("timestamp", "own", "common", "expected"),
    [
        # history: without `sentAt`, with that of the archive, and older than the library that sends it
        ("2020-01-01T00:00:00Z", None, None, "2020-01-01T00:00:00.000Z"),
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:05Z", None, "2020-01-01T00:00:00.000Z"),
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:05Z", "2026-01-05T12:00:00Z", "2020-01-01T00:00:00.000Z"),
        ("2020-01-01T00:00:00Z", None, "2026-01-05T14:00:00Z", "2020-01-01T00:00:00.000Z"),
        # live events of a phone whose clock is wrong
        ("2026-01-05T13:50:00Z", None, "2026-01-05T14:00:00Z", "2026-01-05T11:50:00.000Z"),
        ("2026-01-04T11:50:00Z", None, "2026-01-04T12:00:00Z", "2026-01-05T11:50:00.000Z"),
    ],
)
def test_an_import_keeps_history_and_corrects_the_clock_of_a_phone(
    timestamp: str, own: str | None, common: str | None, expected: str
) -> None:
    event = TRACK | {"timestamp": timestamp} | ({"sentAt": own} if own else {})

    assert complete(event, {"sentAt": common} if common else {}, origin="import")["timestamp"] == expected


@pytest.mark.parametrize("origin", ["call", "import", "webhook"])
def test_an_event_that_segment_passed_on_keeps_its_times(origin: str) -> None:
    event = TRACK | {
        "originalTimestamp": "2026-01-05T13:50:00.000Z",
        "timestamp": "2026-01-05T11:50:00.000Z",
        "sentAt": "2026-01-05T14:00:00.000Z",
        "receivedAt": "2026-01-05T11:59:00.000Z",
    }

    assert complete(event, origin=origin).items() >= event.items()


@pytest.mark.parametrize("own", [None, "", "soon", [1]])
def test_a_received_at_that_is_no_time_is_replaced(own: Any) -> None:
    assert complete(TRACK | {"receivedAt": own}, origin="webhook")["receivedAt"] == "2026-01-05T12:00:00.000Z"


def test_an_unlikely_id_is_counted() -> None:
    assert remarks(TRACK | {"userId": "undefined", "timestamp": "soon"}) == ("unlikely_ids", "unreadable_times")
    assert remarks(TRACK) == ()


def test_the_shared_members_of_a_batch_are_limited_in_size() -> None:
    with pytest.raises(Refusal) as refused:
        shared({"context": {"a": "x" * 32_768}}, 1)

    assert refused.value.field == "context"
    assert (
        "must have at most 32,768 bytes with the integrations and sentAt of the batch, not 32,788"
        in refused.value.message
    )


def test_the_shared_members_of_a_batch_are_limited_in_all_of_its_events() -> None:
    """A body of 150 KB would store 60 MB."""
    context = {"a": "x" * 9_980}
    assert shared({"context": context, "batch": []}, 200) == {"context": context}
    with pytest.raises(Refusal, match=r"at most 2,000,000 bytes in its 201 events, not 10,000 in each") as refused:
        shared({"context": context}, 201)

    assert (refused.value.status, refused.value.field) == (413, "context")
    assert shared({"batch": []}, 2500) == {}


SHAPES = {
    "objects": lambda inner: {"a": inner},
    "arrays": lambda inner: [inner],
    "members around it": lambda inner: {"b": {}, "a": inner, "c": [1]},
    "items around it": lambda inner: [{}, 1, inner, [], "x"],
}


def nested(shape: str, levels: int) -> Any:
    """Return a value of so many levels."""
    value: Any = []
    for _ in range(levels - 1):
        value = SHAPES[shape](value)
    return value


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("member", ["properties", "context", "extra"])
def test_an_event_has_64_levels_at_most_and_the_member_of_more_is_named(member: str, shape: str) -> None:
    def pack(levels: int) -> None:
        event = TRACK | {"integrations": {}, member: {"in": nested(shape, levels - 2)}}
        assert levels <= MAX_LEVELS or levels > 500 or may_be_deep(json.dumps(event).encode(), [event])
        as_stored("web", complete(event), event)

    pack(MAX_LEVELS)
    for levels in (MAX_LEVELS + 1, 100, 250, 252, 253, 254, 255, 500, 1000):
        with pytest.raises(Refusal, match="is nested too deeply: an event has at most 64 levels") as refused:
            pack(levels)
        assert (refused.value.status, refused.value.field) == (400, member)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shared_members_of_a_batch_have_the_levels_of_an_event(shape: str) -> None:
    assert shared({"context": {"in": nested(shape, MAX_LEVELS - 2)}}, 1)
    for levels in (MAX_LEVELS + 1, 300):
        with pytest.raises(Refusal, match="is nested too deeply") as refused:
            shared({"context": {"in": nested(shape, levels - 2)}}, 1)
        assert refused.value.field == "context"


def test_an_event_may_have_many_objects_and_brackets() -> None:
    event = TRACK | {"properties": {"products": [{"tags": [[]]}] * 300, "text": "[{" * 300}}

    assert as_stored("web", complete(event), event)
