"""The run of an event: what needs no time between two operations."""

from __future__ import annotations

from typing import Any

import pytest

import mapping
from tests.secrets import CREDENTIALS

PRESETS = mapping.destinations({"destinations": {"d": CREDENTIALS}})["d"]


def run(event: dict[str, Any], destination: mapping.Destination = PRESETS) -> str:
    return mapping.ordering_info(event, destination).run


def alias(secondary: str, primary: str) -> dict[str, Any]:
    return {"type": "alias", "previousId": secondary, "userId": primary}


def track(name: str, user: str, **members: Any) -> dict[str, Any]:
    return {"type": "track", "event": name, "userId": user, **members}


def test_merges_into_one_person_are_a_run() -> None:
    assert run(alias("a", "jo")) == run(alias("b", "jo")) != ""
    assert run(alias("a", "jo")) != run(alias("a", "al")), "which of them comes first decides"
    assert run(alias("jo", "jo")) == ""


@pytest.mark.parametrize("name", ["User Deleted", "User Suppressed", "User Unsuppressed"])
def test_operations_of_one_kind_on_different_people_are_a_run(name: str) -> None:
    assert run(track(name, "a", anonymousId="kiosk")) == run(track(name, "b", anonymousId="kiosk")) != ""


def test_removals_of_devices_are_a_run() -> None:
    removals = [track("Device Deleted", "a", context={"device": {"token": token}}) for token in "12"]

    assert run(removals[0]) == run(removals[1]) != run(track("User Deleted", "a"))


def test_deletion_requests_are_a_run() -> None:
    assert run({"type": "delete", "userId": "a"}) == run({"type": "delete", "userId": "b"}) != ""


def test_an_event_that_does_more_is_of_no_run() -> None:
    table = {
        **CREDENTIALS,
        "subscriptions": [
            {
                "name": "Delete",
                "action": "deletePerson",
                "trigger": 'event = "User Deleted"',
                "mapping": {"person_id": {"@path": "$.userId"}},
            },
            {
                "name": "Track",
                "action": "trackEvent",
                "trigger": 'type = "track"',
                "mapping": {"name": {"@path": "$.event"}, "id": {"@path": "$.userId"}},
            },
        ],
    }
    destination = mapping.destinations({"destinations": {"d": table}})["d"]

    assert mapping.ordering_info(track("User Deleted", "a"), destination).needs_cooldown
    assert run(track("User Deleted", "a"), destination) == ""


def test_an_event_without_a_cooldown_is_of_no_run() -> None:
    assert run(track("Viewed", "a")) == ""
