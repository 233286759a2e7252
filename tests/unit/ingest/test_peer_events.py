"""Events that other tools write, from the request to the operations. Each test is named after its case."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime
from typing import Any

import orjson

import mapping
from ingest.access.sources import Source
from ingest.calls import Calls, Offer
from ingest.counters import Counters
from settings import Settings
from tests.secrets import CREDENTIALS, WEBHOOK_SECRET
from tests.unit.ingest.json_entries import json_entries

NOW = datetime(2026, 11, 28, 15, 0, 2, tzinfo=UTC)
WEBSITE = Source(name="website", write_key="w", webhook_secret=WEBHOOK_SECRET, destinations=["d"])
AUTHORIZATION = "Basic " + base64.b64encode(b"w:").decode()
DESTINATION = mapping.destinations({"destinations": {"d": CREDENTIALS}})["d"]

CALLS = Calls(
    [WEBSITE],
    json_entries,
    Counters(),
    Settings(),
    {"d": DESTINATION},
)


def call(path: str, body: Any) -> Offer:
    return CALLS.read_call(path, AUTHORIZATION, orjson.dumps(body), NOW)


def operations(offer: Offer) -> list[dict[str, Any]]:
    """Return the bodies of the operations of the accepted events; nothing may be refused."""
    assert offer.rejected == []
    events = [orjson.loads(entry.body) for (entry,) in offer.entries]
    translations = [mapping.translate(event, DESTINATION, NOW.timestamp()) for event in events]
    assert not any(translation.failures for translation in translations)
    return [operation.body for translation in translations for operation in translation.operations]


def test_peer_webhook_writekey() -> None:
    event = {"type": "track", "event": "Hook", "userId": "h1", "messageId": "h-1", "projectId": "p", "version": 2}
    event |= {"channel": "server", "writeKey": "keyOfTheSegmentSource", "context": {}, "integrations": {}}
    raw = orjson.dumps(event | {"timestamp": "2026-11-28T15:00:01Z"})

    offer = CALLS.read_webhook("website", hmac.new(WEBHOOK_SECRET.encode(), raw, "sha1").hexdigest(), raw, NOW)

    (operation,) = operations(offer)
    assert (operation["name"], operation["identifiers"]) == ("Hook", {"id": "h1"})


def test_peer_archive_writekey() -> None:
    event = {"type": "track", "event": "A", "userId": "ar1", "writeKey": "keyOfTheSegmentSource", "messageId": "ar-1"}

    (operation,) = operations(call("import", {"batch": [event | {"timestamp": "2024-01-01T00:00:00Z"}]}))

    assert operation["timestamp"] == 1704067200


def test_peer_import_number_time() -> None:
    event = {"type": "track", "event": "s", "userId": "nt2", "timestamp": 1700000000}

    (operation,) = operations(call("import", {"batch": [event]}))

    assert operation["timestamp"] == 1700000000


def test_peer_context_null() -> None:
    event = {"event": "E", "userId": "ctxnull", "context": None}

    for path, body in (("track", event), ("batch", {"batch": [{"type": "track", **event}], "context": None})):
        (operation,) = operations(call(path, body))
        assert operation["name"] == "E"


def test_peer_track_traits_list() -> None:
    (operation,) = operations(call("track", {"event": "E", "userId": "trlist", "traits": ["a"]}))

    assert operation["identifiers"] == {"id": "trlist"}


def test_peer_number_id() -> None:
    people = {"odd": 9007199254740993, "even": 9007199254740992}
    batch = [{"type": "identify", "userId": number, "traits": {"who": who}} for who, number in people.items()]

    found = operations(call("batch", {"batch": batch}))

    assert [(each["attributes"]["who"], each["identifiers"]["id"]) for each in found] == [
        ("odd", "9007199254740993"),
        ("even", "9007199254740992"),
    ]
    deletions = call("batch", {"batch": [{"type": "delete", "userId": number} for number in people.values()]})
    assert [each["identifiers"]["id"] for each in operations(deletions)] == ["9007199254740993", "9007199254740992"]


def test_peer_rudder_identify_context_traits() -> None:
    event = {"type": "identify", "userId": "r1", "context": {"traits": {"email": "r1@shop.example", "plan": "pro"}}}

    (operation,) = operations(call("batch", {"batch": [event]}))

    assert operation["attributes"] == {"email": "r1@shop.example", "plan": "pro"}
