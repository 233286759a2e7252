"""The record of a dead letter: its JSON is a contract, and it loses nothing when it is read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

import lanes
from dead_letters import record
from dead_letters.record import DeadLetter, FailureRecord, Line, RequeueRecord
from mapping.envelope import JsonObject, pack, unpack

EVENT = {"type": "track", "event": "Order Placed", "userId": "jo", "messageId": "m1", "properties": {"price": 3}}
ENTITY = {"type": "person", "identifiers": {"id": "jo"}, "action": "event", "name": "Order Placed"}
REQUEST = {
    "subscription": "Track Event",
    "action": "trackEvent",
    "payload": {"name": "Order Placed"},
    "path": "/api/v2/entity",
    "request": ENTITY,
}
RESPONSE = {"status": 207, "body": "{}", "batch_index": 0}
ATTEMPT = {"at_ms": 1_700_000_000_000, "worker": "w1", "reason": "name: no (invalid)"}
MISSING = {"subscription": "Track Page View", "action": "trackPageView", "message": "no url"}
WHOLE: JsonObject = {
    "class": "rejected",
    "message": "name: no (invalid)",
    "faults": [MISSING, REQUEST | {"message": "name: no (invalid)", "response": RESPONSE}],
    "accepted": [REQUEST],
    "unsent": [REQUEST],
    "attempts": [ATTEMPT],
    "expired_claims": 1,
    "keys": ["id:jo"],
    "accepted_at_ms": 1_699_999_999_000,
    "buried_at_ms": 1_700_000_000_000,
    "worker": "w1",
    "configuration": "0a1b",
    "original": EVENT,
    "imported_at_ms": 1_700_000_000_001,
    "unblocked_at_ms": 1_700_000_000_002,
}


def stored(failure: JsonObject, requeued: JsonObject | None = None) -> lanes.DeadLetter:
    return lanes.DeadLetter(7, 5, (), pack("web", EVENT, requeued), orjson.dumps(failure), True)


def test_a_failure_is_written_as_it_was_read() -> None:
    optional = ("original", "imported_at_ms", "unblocked_at_ms")
    for json in (WHOLE, {name: value for name, value in WHOLE.items() if name not in optional}):
        assert orjson.loads(FailureRecord.from_bytes(orjson.dumps(json)).to_bytes()) == json


def test_a_requeue_record_is_written_as_it_was_read() -> None:
    whole = {"accepted_at_ms": 5, "attempts": [ATTEMPT], "original": EVENT, "requests": [REQUEST]}

    for json in (whole, {"original": EVENT}, {}):
        assert orjson.loads(orjson.dumps(RequeueRecord.from_json(json).json())) == json


def test_a_dead_letter_as_json_has_the_members_that_scripts_read() -> None:
    json = orjson.loads(orjson.dumps(record.read(stored(WHOLE)).json()))

    listed = {"sequence": 7, "source": "web", "name": "Order Placed", "action": "trackPageView", "blocks": True}
    assert json == {**listed, **WHOLE, "event": EVENT}


def test_a_line_has_both_records_and_is_read_as_it_was_written() -> None:
    requeued = {"accepted_at_ms": 4, "original": EVENT}
    text = record.read(stored(WHOLE, requeued)).line("journeys").to_bytes()

    assert orjson.loads(text) == {
        "destination": "journeys",
        "sequence": 7,
        "accepted_at_ms": 5,
        "source": "web",
        "event": EVENT,
        "requeued": requeued,
        "failure": WHOLE,
    }
    assert Line.from_bytes(text).to_bytes() == text


def test_a_short_record_has_defaults() -> None:
    """Lines that were written by hand have the required members only."""
    short = {"class": "invalid", "message": "no url", "faults": [], "buried_at_ms": 9}

    dead_letter = record.read(stored(short))

    assert (dead_letter.accepted_at_ms, dead_letter.action, dead_letter.requests) == (5, None, None)
    assert not dead_letter.is_edited


def test_the_requests_of_a_dead_letter_are_the_refused_and_the_unsent_ones() -> None:
    def requests(**failure: Any) -> list[JsonObject] | None:
        found = record.read(stored(WHOLE | failure)).requests
        return None if found is None else [request.json() for request in found]

    assert requests(faults=WHOLE["faults"][1:]) == [REQUEST, REQUEST]
    assert requests(faults=WHOLE["faults"][1:], unsent=[]) == [REQUEST]
    assert requests() is None, "the first fault has no request"
    assert requests(faults=[]) is None


def test_the_first_original_is_kept_by_every_edit() -> None:
    def edited(dead_letter: DeadLetter, event: JsonObject) -> DeadLetter:
        body, failure = dead_letter.edited(event)
        return record.read(lanes.DeadLetter(7, 5, (), body, failure, False))

    once = edited(record.read(stored({**WHOLE, "original": None})), {"edit": 1})
    twice = edited(once, {"edit": 2})

    assert (once.event, twice.event) == ({"edit": 1}, {"edit": 2})
    assert once.failure.original == twice.failure.original == EVENT
    assert once.requeued.original == twice.requeued.original == EVENT


@pytest.mark.parametrize("as_recorded", [True, False])
def test_a_replayed_event_has_its_age_its_attempts_and_its_original(as_recorded: bool) -> None:
    dead_letter = record.read(stored(WHOLE | {"faults": WHOLE["faults"][1:]}))

    source, event, requeued = unpack(dead_letter.requeued_body(as_recorded=as_recorded))

    kept = {"accepted_at_ms": 1_699_999_999_000, "attempts": [ATTEMPT], "original": EVENT}
    assert (source, event) == ("web", EVENT)
    assert requeued == (kept | {"requests": [REQUEST, REQUEST]} if as_recorded else kept)
