"""Calls: authentication, batches, and what an offer holds of valid and invalid events."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

import lanes
from ingest.calls import Calls
from ingest.counters import Counters
from ingest.errors import Refusal
from ingest.events import MAX_BATCH_EVENTS
from ingest.group_commit import Entry
from ingest.sources import Source

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
WEB = Source(name="web", write_key="w", webhook_secret="s", destinations=["d"])
SERVER = Source(name="server", write_key="v", destinations=["d"])
TRACK = {"type": "track", "event": "Bought", "userId": "1"}
LATE = TRACK | {"timestamp": "2026-01-05T11:00:00Z"}


def calls() -> Calls:
    """Calls whose entries hold the event as JSON."""
    return Calls(
        [WEB, SERVER],
        lambda source, event, _: (Entry(lanes.NewEvent(orjson.dumps(event), (), source.name), False),),
        Counters(),
    )


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:".encode()).decode()


def read(body: Any, path: str = "batch", authorization: str = basic("w")) -> Any:
    return calls().read_call(path, authorization, orjson.dumps(body), NOW)


@pytest.mark.parametrize(
    ("authorization", "body", "source"),
    [
        (basic("w"), {"batch": [TRACK]}, "web"),
        (basic("v").replace("Basic", "BASIC"), {"batch": [TRACK]}, "server"),
        ("", {"batch": [TRACK], "writeKey": "v"}, "server"),
        ("", {"batch": [TRACK | {"writeKey": "v"}]}, "server"),
        ("Bearer x", {"batch": [TRACK], "writeKey": "v"}, "server"),
        ("Bearer v", {"batch": [TRACK]}, "server"),
        ("bearer v ", {"batch": [TRACK], "writeKey": "w"}, "server"),
        ("Basic %%%", {"batch": [TRACK], "writeKey": "v"}, "server"),
        (basic("w"), {"batch": [TRACK], "writeKey": "v"}, "web"),
    ],
)
def test_the_write_key_names_the_source(authorization: str, body: Any, source: str) -> None:
    assert read(body, authorization=authorization).source.name == source


@pytest.mark.parametrize(
    ("authorization", "body", "text"),
    [
        ("", {"batch": [TRACK]}, "writeKey: is missing; send it as the user name of basic authentication"),
        ("", {"batch": ["text"]}, "writeKey: is missing"),
        (basic("x"), {"batch": [TRACK]}, "writeKey: no source has this write key"),
        ("", {"batch": [TRACK], "writeKey": ["w"]}, "writeKey: no source has this write key"),
    ],
)
def test_a_call_without_a_valid_write_key_is_refused(authorization: str, body: Any, text: str) -> None:
    with pytest.raises(Refusal, match=text) as refused:
        read(body, authorization=authorization)

    assert (refused.value.status, refused.value.field) == (401, "writeKey")


def test_an_event_with_the_write_key_of_another_source_is_rejected() -> None:
    offer = read({"batch": [TRACK, TRACK | {"writeKey": "v"}, TRACK | {"writeKey": "w"}]})

    ((index, refusal),) = offer.rejected
    assert (index, refusal.status, refusal.message) == (1, 401, "writeKey: must be the write key of the request")
    assert len(offer.entries) == 2


def test_an_event_that_is_not_json_is_rejected_with_its_index() -> None:
    raw = b'{"batch": [%b, {"v": NaN}, %b]}' % (orjson.dumps(TRACK), orjson.dumps(TRACK))

    offer = calls().read_call("batch", basic("w"), raw, NOW)

    ((index, refusal),) = offer.rejected
    assert (index, refusal.status, len(offer.entries)) == (1, 400, 2)
    assert refusal.message.startswith("the event is not JSON: ")


def test_an_offer_holds_the_valid_events_in_their_order_and_the_others_with_their_index() -> None:
    offer = read({"batch": [TRACK | {"event": "a"}, "text", TRACK | {"event": "b"}, {"type": "track", "userId": "1"}]})

    assert [orjson.loads(entry.event.body)["event"] for (entry,) in offer.entries] == ["a", "b"]
    assert [(index, refusal.field) for index, refusal in offer.rejected] == [(1, None), (3, "event")]


@pytest.mark.parametrize(
    ("batch", "status", "text"),
    [
        ({}, 400, "batch: must be an array with at least one event"),
        ([], 400, "batch: must be an array with at least one event"),
        ([1] * (MAX_BATCH_EVENTS + 1), 413, "batch: must have at most 2,500 events, not 2,501"),
    ],
)
def test_a_batch_is_an_array_of_limited_length(batch: Any, status: int, text: str) -> None:
    with pytest.raises(Refusal) as refused:
        read({"batch": batch})

    assert (refused.value.status, refused.value.message, refused.value.field) == (status, text, "batch")


@pytest.mark.parametrize(("path", "timestamp"), [("batch", "2026-01-05T10:00:00.000Z"), ("import", LATE["timestamp"])])
def test_the_clock_of_the_sender_is_corrected_except_in_an_import(path: str, timestamp: str) -> None:
    ((entry,),) = read({"batch": [LATE], "sentAt": "2026-01-05T13:00:00Z"}, path).entries

    assert orjson.loads(entry.event.body)["timestamp"] == timestamp


def test_a_webhook_needs_a_source_with_a_secret_and_a_valid_signature() -> None:
    raw = orjson.dumps([TRACK, TRACK])
    signed = hmac.new(b"s", orjson.dumps(TRACK), "sha1").hexdigest()

    assert len(calls().read_webhook("web", signed, raw, NOW).entries) == 2
    for name, text in (("server", "no source with this name has a webhook secret"), ("web", "X-Signature: must be")):
        with pytest.raises(Refusal, match=text) as refused:
            calls().read_webhook(name, "", raw, NOW)
        assert refused.value.status == 401
