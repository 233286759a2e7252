"""One event: which are refused and with which text, what is added, and how a wrong clock is corrected."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.errors import Refusal
from ingest.events import completed, packed, shared

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
TRACK = {"type": "track", "event": "Bought", "userId": "1"}


def complete(event: Any, shared: dict[str, Any] | None = None, correct_clock: bool = True) -> dict[str, Any]:
    return completed(event, shared or {}, NOW, correct_clock=correct_clock)


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
        (TRACK | {"messageId": [1]}, "messageId", "messageId: must be a string or a number, not [1]"),
        (TRACK | {"properties": {"a": "x" * 32_768}}, None, "the event must have at most 32,768 bytes, not 32,836"),
    ],
)
def test_an_invalid_event_is_refused_with_the_field(event: Any, field: str | None, text: str) -> None:
    with pytest.raises(Refusal) as refused:
        complete(event)

    assert (refused.value.status, refused.value.field) == (400, field)
    assert text in refused.value.message


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
    ("timestamp", "sent_at", "expected"),
    [
        ("2026-01-05T11:00:00Z", None, "2026-01-05T11:00:00Z"),
        ("2026-01-05T11:00:00Z", "2026-01-05T11:59:30Z", "2026-01-05T11:00:00Z"),
        ("2026-01-05T12:50:00Z", "2026-01-05T13:00:00Z", "2026-01-05T11:50:00.000Z"),
        ("1999-01-01T00:00:00Z", "1999-01-01T00:00:10Z", "2026-01-05T11:59:50.000Z"),
        ("0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("half past nine", "2026-01-05T13:00:00Z", "half past nine"),
        (None, "2026-01-05T13:00:00Z", "2026-01-05T12:00:00.000Z"),
    ],
)
def test_the_wrong_clock_of_a_device_is_corrected(timestamp: str | None, sent_at: str | None, expected: str) -> None:
    event = {name: value for name, value in (TRACK | {"timestamp": timestamp}).items() if value is not None}

    assert complete(event, {"sentAt": sent_at})["timestamp"] == expected


def test_an_import_keeps_the_times_of_its_events() -> None:
    event = complete(
        TRACK | {"timestamp": "2020-01-01T00:00:00Z"}, {"sentAt": "2020-01-01T00:00:00Z"}, correct_clock=False
    )

    assert event["timestamp"] == "2020-01-01T00:00:00Z"


def test_the_shared_members_of_a_batch_are_limited_in_size() -> None:
    with pytest.raises(Refusal) as refused:
        shared({"context": {"a": "x" * 32_768}})

    assert refused.value.field == "context"
    assert (
        "must have at most 32,768 bytes with the integrations and sentAt of the batch, not 32,788"
        in refused.value.message
    )


def test_an_event_that_is_nested_too_deeply_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(252):
        deep = {"a": deep}

    with pytest.raises(Refusal, match="nested too deeply"):
        packed("web", complete(TRACK | {"properties": deep}))
