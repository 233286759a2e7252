"""One event as it comes in: what is refused and why, what is added, and how a wrong clock is corrected."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.errors import Refusal
from ingest.events import completed, packed, shared

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
TRACK = {"type": "track", "event": "Bought", "userId": "1"}


def take(event: Any, shared: dict[str, Any] | None = None, correct_clock: bool = True) -> dict[str, Any]:
    return completed(event, shared or {}, NOW, correct_clock=correct_clock)


@pytest.mark.parametrize(
    ("event", "field", "text"),
    [
        ("text", None, "an event must be a JSON object"),
        ({"userId": "1"}, "type", "type: is missing, but must be one of identify, track"),
        ({"type": "dance", "userId": "1"}, "type", "type: is 'dance', but must be one of"),
        ({"type": "identify"}, "userId", "needs a userId or an anonymousId"),
        ({"type": "identify", "userId": ""}, "userId", "needs a userId or an anonymousId"),
        ({"type": "identify", "userId": {"a": 1}}, "userId", "must be a text"),
        ({"type": "identify", "userId": True}, "userId", "must be a text"),
        ({"type": "track", "userId": "1"}, "event", "needs the name of the event"),
        ({"type": "alias", "userId": "1"}, "previousId", "an alias needs both"),
        ({"type": "alias", "previousId": "1"}, "userId", "an alias needs both"),
        ({"type": "group", "userId": "1"}, "groupId", "a group call needs it"),
        ({"type": "delete", "anonymousId": "1"}, "userId", "a deletion needs it"),
        ({"type": "segue privacy request", "userId": "1"}, "type", "must be one of"),
        (TRACK | {"properties": "x"}, "properties", "must be an object"),
        (TRACK | {"messageId": [1]}, "messageId", "must be a text"),
        (TRACK | {"properties": {"a": "x" * 32_768}}, None, "must not have more than 32,768"),
    ],
)
def test_a_bad_event_is_refused_by_field(event: Any, field: str | None, text: str) -> None:
    with pytest.raises(Refusal) as refused:
        take(event)

    assert (refused.value.status, refused.value.field) == (400, field)
    assert text in refused.value.message


def test_an_event_gets_what_every_event_has() -> None:
    event = take(TRACK)

    assert event["timestamp"] == event["receivedAt"] == "2026-01-05T12:00:00.000Z"
    assert event["messageId"].startswith("segue-")
    assert take(TRACK)["messageId"] != event["messageId"]


def test_an_event_keeps_its_own_message_id_and_loses_the_write_key() -> None:
    event = take(TRACK | {"messageId": "m1", "writeKey": "secret"})

    assert event["messageId"] == "m1"
    assert "writeKey" not in event


def test_what_a_batch_says_counts_for_its_events_unless_they_say_otherwise() -> None:
    shared = {"context": {"ip": "1.1.1.1", "locale": "de"}, "integrations": {"All": True}}

    event = take(TRACK | {"context": {"locale": "fr"}}, shared)

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
def test_a_device_s_wrong_clock_is_corrected(timestamp: str | None, sent_at: str | None, expected: str) -> None:
    event = {name: value for name, value in (TRACK | {"timestamp": timestamp}).items() if value is not None}

    assert take(event, {"sentAt": sent_at})["timestamp"] == expected


def test_history_is_imported_with_its_own_times() -> None:
    event = take(TRACK | {"timestamp": "2020-01-01T00:00:00Z"}, {"sentAt": "2020-01-01T00:00:00Z"}, correct_clock=False)

    assert event["timestamp"] == "2020-01-01T00:00:00Z"


def test_what_counts_for_every_event_of_a_batch_is_bounded() -> None:
    with pytest.raises(Refusal) as refused:
        shared({"context": {"a": "x" * 32_768}})

    assert refused.value.field == "context"


def test_an_event_that_could_not_be_written_again_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(252):
        deep = {"a": deep}

    with pytest.raises(Refusal, match="nested too deeply"):
        packed("web", take(TRACK | {"properties": deep}))
