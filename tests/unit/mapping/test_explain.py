"""Explanations: what each subscription decided and why, in accord with what would be sent."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import mapping

VECTORS = Path(__file__).parents[2] / "conformance" / "vectors" / "actions.jsonl"
PRESETS = mapping.destinations({"destinations": {"d": {"site_id": "s", "api_key": "k"}}})["d"]


def decision(event: dict[str, Any], name: str, destination: mapping.Destination = PRESETS) -> mapping.Decision:
    return next(one for one in mapping.explain(event, destination, 0.0).decisions if one.subscription == name)


def test_the_condition_that_fails_is_named_with_what_is_there_instead() -> None:
    told = decision({"type": "track", "event": "Bought", "userId": "1"}, "Create or Update Device")

    assert not told.matched
    assert ('event = "Application Installed"', "Bought") in [(one.condition, one.actual) for one in told.unmet]


def test_of_conditions_joined_by_and_the_first_that_fails_is_named() -> None:
    told = decision({"type": "page", "userId": "1"}, "Track Event")

    assert [(one.condition, one.actual) for one in told.unmet] == [('type = "track"', "page")]


def test_a_match_shows_its_payload_and_its_operation() -> None:
    told = decision({"type": "identify", "userId": "1", "traits": {"plan": "pro"}}, "Create or Update Person")

    assert told.matched
    assert told.payload is not None
    assert told.payload["id"] == "1"
    assert told.operation is not None
    assert told.operation.body["attributes"] == {"plan": "pro"}


def test_a_match_that_cannot_be_sent_shows_every_error() -> None:
    told = decision({"type": "page", "userId": "1"}, "Track Page View")

    assert told.matched
    assert told.operation is None
    assert told.errors == ("The root value is missing the required field 'url'.",)


def test_what_is_switched_off_or_not_accepted_says_so() -> None:
    text = """
    [destinations.d]
    site_id = "s"
    api_key = "k"
    compatibility = "2021"
    [[destinations.d.subscriptions]]
    name = "Track Event"
    enabled = false
    """
    destination = mapping.destinations(tomllib.loads(text))["d"]

    assert (
        decision({"type": "track", "event": "x", "userId": "1"}, "Track Event", destination).reason == "it is disabled"
    )
    reason = decision({"type": "screen", "name": "x", "userId": "1"}, "Create or Update Person", destination).reason
    assert reason == 'screen events send nothing with compatibility = "2021"'


def test_a_dropped_event_has_no_decisions() -> None:
    text = """
    [destinations.d]
    site_id = "s"
    api_key = "k"
    [[destinations.d.filters]]
    if = "type = 'track'"
    action = "drop"
    """
    destination = mapping.destinations(tomllib.loads(text))["d"]

    told = mapping.explain({"type": "track", "event": "x", "userId": "1"}, destination, 0.0)

    assert (told.event, told.decisions, told.ordering.keys) == (None, (), ("id:1",))


def test_explanations_agree_with_translations() -> None:
    events = [json.loads(line).get("event") for line in VECTORS.read_text(encoding="utf-8").split("\n") if line]
    events = [event for event in events if isinstance(event, dict)]

    assert len(events) > 1000
    for event in events:
        told, done = mapping.explain(event, PRESETS, 0.0), mapping.translate(event, PRESETS, 0.0)
        assert told.operations == done.operations
        assert sum(bool(one.errors) for one in told.decisions) == len(done.failures)
