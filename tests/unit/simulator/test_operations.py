"""The validation of operations: which are refused, and the fault that is reported."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from simulator.operations import MAX_ENTITY_BYTES, fault, size_fault, take_trace
from simulator.options import Options
from tests.unit.simulator.saying import ULID, Json, device, event, identify, merge, obj, person

ADA = {"id": "ada"}


def field_of(operation: Any, **options: Any) -> str | None:
    found = fault(operation, Options(**options))
    return None if found is None else found["field"]


@pytest.mark.parametrize(
    "operation",
    [
        identify(ADA, plan="pro"),
        identify({"email": "a@b.c"}),
        identify({"cio_id": "0001"}),
        event({"anonymous_id": "v"}),
        event(ADA, id="anything"),
        person("page", ADA, name="/"),
        person("screen", ADA, name="Home"),
        *(person(action, ADA) for action in ("delete", "suppress", "unsuppress", "viewed_content")),
        device("add_device", ADA),
        device("delete_device", ADA),
        merge(ADA, {"email": "a@b.c"}),
        obj("identify", cio_relationships=[{"identifiers": ADA}]),
        obj("delete"),
        person("add_relationships", ADA, cio_relationships=[{"identifiers": {"cio_object_id": "1"}}]),
        {"type": "delivery", "action": "event", "identifiers": {"id": "d"}, "name": "opened"},
    ],
)
def test_a_valid_operation_is_accepted(operation: Json) -> None:
    assert fault(operation, Options()) is None


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        (7, ""),
        ({}, "type"),
        ({"type": ["person"]}, "type"),
        ({"type": "person", "action": "fly"}, "action"),
        ({"type": "object", "action": "event"}, "action"),
        ({"type": "person", "action": "identify"}, "identifiers"),
        (identify({}), "identifiers"),
        (identify({"id": "1", "email": "a@b.c"}), "identifiers"),
        (identify({"name": "ada"}), "identifiers.name"),
        (identify({"phone": "+4912345"}), "identifiers.phone"),
        (identify({"id": ""}), "identifiers.id"),
        (identify({"id": "é" * 76}), "identifiers.id"),
        (person("event", ADA), "name"),
        (event(ADA, " "), "name"),
        (event(ADA, "é" * 51), "name"),
        (event(ADA, attributes=[]), "attributes"),
        (identify(ADA, **{"é" * 76: 1}), f"attributes.{'é' * 76}"),
        (identify(ADA, plan="é" * 501), "attributes.plan"),
        (identify(ADA, **{f"a{n}": n for n in range(301)}), "attributes"),
        (person("add_device", ADA), "device.token"),
        (person("add_device", ADA, device={"token": "t", "platform": "web"}), "device.platform"),
        (merge({}, ADA), "primary"),
        (merge(ADA, {"id": "1", "email": "a@b.c"}), "secondary"),
        (merge(ADA, {"anonymous_id": "v"}), "secondary.anonymous_id"),
        (obj("identify", ""), "identifiers.object_id"),
        (person("add_relationships", ADA), "cio_relationships"),
        (identify(ADA) | {"cio_relationships": {}}, "cio_relationships"),
        (
            identify(ADA) | {"cio_relationships": [{"identifiers": ADA}]},
            "cio_relationships[0].identifiers.object_type_id",
        ),
        (obj("identify", cio_relationships=[{}]), "cio_relationships[0].identifiers"),
        ({"type": "delivery", "action": "event", "identifiers": {"id": "d"}, "name": "bounced"}, "name"),
    ],
)
def test_an_invalid_operation_is_refused_with_the_field(operation: Any, field: str) -> None:
    assert field_of(operation) == field


def test_values_of_the_maximum_length_are_accepted() -> None:
    assert field_of(identify({"id": "é" * 75}, **{"é" * 75: "é" * 500})) is None
    assert field_of(event(ADA, "é" * 50)) is None


def test_an_item_may_be_32_kilobytes_large() -> None:
    empty = event(ADA, attributes={"text": ""})
    room = MAX_ENTITY_BYTES - len(orjson.dumps(empty))
    assert size_fault(event(ADA, attributes={"text": "x" * room})) is None
    assert size_fault(event(ADA, attributes={"text": "x" * (room + 1)})) is not None


def test_an_event_id_that_is_not_a_ulid_is_refused_only_by_option() -> None:
    assert field_of(event(ADA, id="order 7"), invalid_ulid="reject") == "id"
    assert field_of(event(ADA, id=ULID), invalid_ulid="reject") is None


def test_an_object_type_must_exist_unless_types_are_created_on_demand() -> None:
    planet = {"type": "object", "action": "identify", "identifiers": {"object_type_id": "9", "object_id": "mars"}}
    assert field_of(planet) == "identifiers.object_type_id"
    assert field_of(planet, auto_create_object_types=True) is None


def test_the_trace_is_removed_from_the_attributes() -> None:
    operation = identify(ADA, plan="pro", segue_trace="story:1:7")
    assert take_trace(operation) == ("story:1", 7)
    assert operation["attributes"] == {"plan": "pro"}
    assert take_trace(operation) is None
