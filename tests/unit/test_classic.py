"""The recipe for Segment's classic destination and the stand-in for it: both make the same operations of an event."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

import mapping
from simulator import v1
from tests.moving.classic import calls
from tests.unit.simulator.conftest import Api
from tests.unit.test_recipes import examples, file_of

PAGE = "classic"
RECIPE = mapping.destinations(tomllib.loads(file_of(PAGE)))["journeys"]
PRESETS = mapping.destinations({"destinations": {"journeys": {"site_id": "site", "api_key": "key"}}})["journeys"]

BOTH = {"userId": "c1", "anonymousId": "a1", "messageId": "m1", "timestamp": "2024-05-06T07:08:09.500Z"}
TIME = 1714979289
DEVICE = {"device": {"token": "t/1", "type": "ios"}, "app": {"version": "3.1"}}
# Events with which the presets do something else, or do it with something else.
CHANGED: list[dict[str, Any]] = [
    {"type": "identify", "traits": {"email": "c1@shop.example", "created": "2024-05-06", "objectId": "o1"}},
    {"type": "track", "event": "Order Placed", "properties": {"total": 12.5, "items": [{"sku": "a"}], "none": None}},
    {"type": "track", "event": "User Deleted", "properties": {}},
    {"type": "track", "event": "User Suppressed", "properties": {}},
    {"type": "track", "event": "User Unsuppressed", "properties": {}},
    {"type": "track", "event": "Object Deleted", "properties": {"objectId": "o1"}},
    {"type": "track", "event": "Relationship Deleted", "properties": {"objectId": "o1"}},
    {"type": "track", "event": "Report Delivery Event", "properties": {"deliveryId": "d1", "metric": "opened"}},
    {"type": "track", "event": "Report Content Event", "properties": {"trackedResponse": "yes"}},
    {"type": "track", "event": "Device Created or Updated", "properties": {}, "context": DEVICE},
    {"type": "track", "event": "Device Deleted", "properties": {}, "context": DEVICE},
    {"type": "track", "event": "Application Installed", "properties": {"build": "7"}, "context": DEVICE},
    {"type": "track", "event": "Application Opened", "context": DEVICE},
    {"type": "page", "name": "Prices", "properties": {"url": "https://shop.example/prices", "title": "Our prices"}},
    {"type": "page", "properties": {"url": "https://shop.example/prices"}},
    {"type": "page", "name": "Prices"},
    {"type": "screen", "name": "Cart", "properties": {"name": "Cart", "seen": "2024-05-06T07:08:09Z"}},
    {"type": "screen", "properties": {"items": 2}},
    {"type": "group", "groupId": "g1", "traits": {"name": "Initrode", "plan": "pro"}},
    {"type": "group", "groupId": "g1", "traits": {"name": "Initrode", "email": "hello@initrode.example"}},
    {"type": "alias", "previousId": "c0"},
    {"type": "track", "event": "Order Placed", "properties": {}, "userId": None},
    {"type": "identify", "traits": {"email": "lead@shop.example"}, "userId": None},
    {"type": "page", "name": "Prices", "properties": {"url": "https://shop.example/prices"}, "userId": ""},
    {"type": "group", "groupId": "g1", "traits": {}, "userId": None},
]
# Events with which they do the same.
EQUAL: list[dict[str, Any]] = [
    {"type": "identify", "traits": {"plan": "pro", "created_at": "2024-05-06T07:08:09Z"}},
    {"type": "identify", "traits": {"unsubscribed": True, "seen": "2024-05-06T07:08:09+02:00"}},
    {"type": "identify", "userId": "lead@shop.example", "traits": {"name": "Ada", "nested": {"day": "2024-05-06"}}},
    {"type": "identify", "userId": "cio_abc", "traits": {"id": "c2", "email": "new@shop.example"}},
    {"type": "track", "event": "Order Placed", "userId": "a+b/c d", "properties": {"placed": "2024-05-06T07:08:09"}},
    {"type": "track", "event": "Application Installed", "properties": {}},
    {"type": "track", "event": "Application Uninstalled", "properties": {}, "context": DEVICE},
    {"type": "track", "event": "Application Uninstalled", "properties": {}},
    {"type": "delete"},
]


def whole(event: dict[str, Any], *, both: bool = True) -> dict[str, Any]:
    """Return the event with ids and a time; with `both` ids, or without the anonymous one."""
    found = BOTH | event
    return {name: value for name, value in found.items() if value is not None and (both or name != "anonymousId")}


def operations_of_segue(event: dict[str, Any], destination: mapping.Destination) -> list[Any]:
    """Return the operations of the subscriptions, and None for each that refuses the event."""
    made = mapping.translate(event, destination, 0.0)
    return [_comparable(operation.body) for operation in made.operations] + [None] * len(made.failures)


def operations_of_classic(event: dict[str, Any]) -> list[Any]:
    """Return the operations that the Track API takes from the requests of the stand-in."""
    made = [v1.operations(call.method, call.path, call.body) or [] for call in calls(event)]
    return [_comparable(operation) for operations in made for operation in operations]


def _comparable(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body without what the classic destination has not: ids of events and times of updates. An empty object
    counts as absent."""
    absent = {"id"} if body.get("action") in ("event", "page", "screen") else {"timestamp"}
    return {
        name: _comparable(value) if name == "device" else value
        for name, value in body.items()
        if name not in absent and value != {}
    }


@pytest.mark.parametrize("event", [*CHANGED, *EQUAL])
def test_the_recipe_makes_the_operations_of_the_classic_destination(event: dict[str, Any]) -> None:
    assert operations_of_segue(whole(event), RECIPE) == operations_of_classic(whole(event))


@pytest.mark.parametrize(("event", "request_"), examples(PAGE))
def test_the_requests_of_the_page_are_those_of_the_classic_destination(event: Any, request_: Any) -> None:
    assert operations_of_classic(event) == [_comparable(request_)]


@pytest.mark.parametrize("event", CHANGED)
def test_the_presets_make_other_operations(event: dict[str, Any]) -> None:
    assert operations_of_segue(whole(event), PRESETS) != operations_of_classic(whole(event))


@pytest.mark.parametrize("event", EQUAL)
def test_the_presets_make_the_same_operations_of_the_other_events(event: dict[str, Any]) -> None:
    event = whole(event, both=False)
    assert operations_of_segue(event, PRESETS) == operations_of_classic(event)


def test_what_no_mapping_reproduces_is_as_the_page_says() -> None:
    dates = whole({"type": "identify", "traits": {"createdAt": "2024-05-06T07:08:09Z", "days": ["2024-05-06"]}})

    (classic,), (segue,) = operations_of_classic(dates), operations_of_segue(dates, RECIPE)

    assert classic["attributes"] == {"created_at": TIME, "createdAt": TIME, "days": [1714953600]}
    assert segue["attributes"] == {"created_at": TIME, "days": ["2024-05-06"]}


def test_a_repeated_request_of_the_classic_destination_stores_the_event_again() -> None:
    api, event = Api("us"), whole({"type": "track", "event": "Order Placed", "properties": {"n": 1}})
    (call,) = calls(event)

    for _ in range(2):
        assert api.call(call.method, f"/api/v1/{call.path}", call.body).status == 200

    (person,) = api.service.workspace.people.values()
    assert [stored["name"] for stored in person.events] == ["Order Placed", "Order Placed"]
