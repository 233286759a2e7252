"""Explanations: the decision of each subscription and the reason, consistent with the translation."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import mapping
from tests.secrets import CREDENTIALS, CREDENTIALS_TOML

VECTORS = Path(__file__).parents[2] / "conformance" / "vectors" / "actions.jsonl"
PRESETS = mapping.destinations({"destinations": {"d": CREDENTIALS}})["d"]


def decision(event: dict[str, Any], name: str, destination: mapping.Destination = PRESETS) -> mapping.Decision:
    decisions = mapping.explain(event, destination, 0.0).decisions
    return next(each for each in decisions if each.subscription == name)


def test_an_unmet_condition_is_shown_with_the_actual_value() -> None:
    found = decision({"type": "track", "event": "Bought", "userId": "1"}, "Create or Update Device")

    assert not found.matched
    assert ('event = "Application Installed"', "Bought") in [(unmet.condition, unmet.actual) for unmet in found.unmet]


def test_of_conditions_joined_by_and_the_first_unmet_one_is_shown() -> None:
    found = decision({"type": "page", "userId": "1"}, "Track Event")

    assert [(unmet.condition, unmet.actual) for unmet in found.unmet] == [('type = "track"', "page")]


def test_a_match_shows_its_payload_and_its_operation() -> None:
    found = decision({"type": "identify", "userId": "1", "traits": {"plan": "pro"}}, "Create or Update Person")

    assert found.matched
    assert found.payload is not None
    assert found.payload["id"] == "1"
    assert found.operation is not None
    assert found.operation.body["attributes"] == {"plan": "pro"}


def test_a_match_without_an_operation_shows_every_error() -> None:
    found = decision({"type": "page", "userId": "1"}, "Track Page View")

    assert found.matched
    assert found.operation is None
    assert found.errors == ("The root value is missing the required field 'url'.",)


def test_a_disabled_subscription_and_a_refused_event_type_have_a_reason() -> None:
    text = f"""
    [destinations.d]
    {CREDENTIALS_TOML}
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
    text = f"""
    [destinations.d]
    {CREDENTIALS_TOML}
    [[destinations.d.filters]]
    if = "type = 'track'"
    action = "drop"
    """
    destination = mapping.destinations(tomllib.loads(text))["d"]

    explanation = mapping.explain({"type": "track", "event": "x", "userId": "1"}, destination, 0.0)

    assert (explanation.event, explanation.decisions, explanation.ordering.keys) == (None, (), ("id:1",))


def test_explanations_have_the_operations_and_failures_of_translations() -> None:
    events = [json.loads(line).get("event") for line in VECTORS.read_text(encoding="utf-8").split("\n") if line]
    events = [event for event in events if isinstance(event, dict)]

    assert len(events) > 1000
    for event in events:
        explanation, translation = mapping.explain(event, PRESETS, 0.0), mapping.translate(event, PRESETS, 0.0)
        assert explanation.operations == translation.operations
        assert sum(bool(each.errors) for each in explanation.decisions) == len(translation.failures)
