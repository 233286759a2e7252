"""Restricted actions: those that an event would run by the enabled subscriptions of a destination."""

from __future__ import annotations

from typing import Any

import pytest

import mapping
from mapping import RESTRICTED, Restrictions
from tests.secrets import CREDENTIALS

TRACK = {"type": "track", "userId": "1", "messageId": "m"}
BY_PRESET = [
    ({"type": "alias", "userId": "2", "previousId": "1"}, "mergePeople"),
    (TRACK | {"event": "User Deleted"}, "deletePerson"),
    (TRACK | {"event": "User Suppressed"}, "suppressPerson"),
    (TRACK | {"event": "User Unsuppressed"}, "unsuppressPerson"),
    (TRACK | {"event": "Object Deleted", "properties": {"objectId": "o"}}, "deleteObject"),
    (TRACK | {"event": "Relationship Deleted", "properties": {"objectId": "o"}}, "deleteRelationship"),
    ({"type": "identify", "event": "User Deleted", "userId": "1"}, "deletePerson"),
    (TRACK | {"event": "Bought"}, None),
    (TRACK | {"event": "Device Deleted", "context": {"device": {"token": "t"}}}, None),
    ({"type": "identify", "userId": "1", "traits": {"email": "a@example.com"}}, None),
    ({"type": "group", "userId": "1", "groupId": "g"}, None),
]


def restricted_action(event: dict[str, Any], *of: mapping.Destination, allowed: tuple[str, ...] = ()) -> str | None:
    return Restrictions(of, allowed).action(event)


def destination(**table: Any) -> mapping.Destination:
    return mapping.destinations({"destinations": {"d": CREDENTIALS | table}})["d"]


def merging(trigger: str, **filters: Any) -> mapping.Destination:
    row = {"name": "Left", "trigger": trigger, "action": "mergePeople", "mapping": {"secondary": "$.properties.old"}}
    return destination(subscriptions=[row], **filters)


@pytest.mark.parametrize(("event", "slug"), BY_PRESET)
def test_a_preset_runs_its_action(event: dict[str, Any], slug: str | None) -> None:
    assert restricted_action(event, destination()) == slug
    assert restricted_action(event, destination(), allowed=RESTRICTED) is None


def test_every_restricted_action_has_a_case() -> None:
    assert {slug for _, slug in BY_PRESET if slug} == set(RESTRICTED)


def test_a_preset_that_is_off_runs_nothing() -> None:
    alias, _ = BY_PRESET[0]

    assert restricted_action(alias, destination(presets={"Merge People": False})) is None


def test_a_subscription_runs_its_action_for_its_own_trigger() -> None:
    left = merging('event = "Left" and properties.final = true')

    assert restricted_action(TRACK | {"event": "Left", "properties": {"final": True}}, left) == "mergePeople"
    assert restricted_action(TRACK | {"event": "Left", "properties": {"final": False}}, left) is None


@pytest.mark.parametrize(
    "trigger",
    ['type = "track" and event = "Left"', 'type = "track"', 'userId = "1" or userId = "2"', 'event != "Right"'],
)
def test_any_form_of_a_trigger_is_found(trigger: str) -> None:
    assert restricted_action(TRACK | {"event": "Left"}, merging(trigger)) == "mergePeople"
    assert restricted_action({"type": "page", "userId": "3", "event": "Right"}, merging(trigger)) is None


def test_each_of_several_destinations_counts() -> None:
    alias, _ = BY_PRESET[0]
    off = destination(presets={"Merge People": False})

    assert restricted_action(alias, off, destination()) == "mergePeople"
    assert restricted_action(alias, off) is None
    assert restricted_action(alias) is None


def test_an_original_product_takes_no_screens() -> None:
    old = merging('type = "screen" or event = "Left"')
    old_product = mapping.compile_destination("d", old.subscriptions, compatibility="2021")

    assert restricted_action({"type": "screen", "userId": "1"}, old) == "mergePeople"
    assert restricted_action({"type": "screen", "userId": "1"}, old_product) is None


def test_the_event_counts_as_the_filters_leave_it() -> None:
    deletion = TRACK | {"event": "User Deleted"}
    hidden = {"if": "type = 'track'", "action": "block", "fields": {"properties": ["keep"]}}
    unless_kept = merging('event = "Left" and properties.keep != true', filters=[hidden])

    dropping = destination(filters=[{"if": "event = 'User Deleted'", "action": "drop"}])
    assert restricted_action(deletion, dropping) is None
    assert restricted_action(TRACK | {"event": "Left", "properties": {"keep": True}}, unless_kept) == "mergePeople"


def test_an_event_that_excludes_the_destination_runs_nothing() -> None:
    alias, _ = BY_PRESET[0]

    assert restricted_action(alias | {"integrations": {"All": False}}, destination()) is None
