"""The documented rules refuse what the simulator refuses."""

from __future__ import annotations

from typing import Any

import pytest

from console.moving.rules import refusal
from simulator.operations import fault, size_fault
from simulator.options import Options

PERSON = {"type": "person", "identifiers": {"id": "1"}}
EVENT = PERSON | {"action": "event", "name": "Bought"}
UPDATE = PERSON | {"action": "identify", "attributes": {}}
DEVICE = PERSON | {"action": "add_device", "device": {"token": "t", "platform": "ios"}}
MERGE = {"type": "person", "action": "merge", "primary": {"id": "1"}, "secondary": {"email": "a@b.example"}}
OBJECT = {"type": "object", "action": "identify", "identifiers": {"object_type_id": "1", "object_id": "x"}}
RELATIONSHIP = {"identifiers": {"object_type_id": "1", "object_id": "x"}}
DELIVERY = {"type": "delivery", "action": "event", "identifiers": {"id": "d1"}, "name": "opened"}
CASES: dict[str, dict[str, Any]] = {
    "an event": EVENT,
    "no identifiers": EVENT | {"identifiers": {}},
    "two identifiers": EVENT | {"identifiers": {"id": "1", "email": "a@b.example"}},
    "an empty id": EVENT | {"identifiers": {"id": ""}},
    "a long id": EVENT | {"identifiers": {"id": "x" * 151}},
    "a long id in bytes": EVENT | {"identifiers": {"id": "é" * 76}},
    "no name": EVENT | {"name": " "},
    "a long name": EVENT | {"name": "x" * 101},
    "a name of the greatest length": EVENT | {"name": "x" * 100},
    "a long value": UPDATE | {"attributes": {"a": "x" * 1001}},
    "a long name of an attribute": UPDATE | {"attributes": {"a" * 151: 1}},
    "many attributes": UPDATE | {"attributes": {f"a{n}": n for n in range(301)}},
    "many attributes of an event": EVENT | {"attributes": {f"a{n}": n for n in range(301)}},
    "an update": UPDATE | {"attributes": {"a": "x" * 1000, "b": None}},
    "a large event": EVENT | {"attributes": {"a": "x" * 33_000}},
    "a device": DEVICE,
    "a device without a token": DEVICE | {"device": {"platform": "ios"}},
    "a device of another platform": DEVICE | {"device": {"token": "t", "platform": "web"}},
    "a removal": PERSON | {"action": "delete_device", "device": {"token": "t"}},
    "a merge": MERGE,
    "a merge without a second person": MERGE | {"secondary": {}},
    "a merge by an anonymous id": MERGE | {"primary": {"anonymous_id": "1"}},
    "a merge by two ids": MERGE | {"primary": {"id": "1", "email": "a@b.example"}},
    "an object": OBJECT,
    "an object without a type": OBJECT | {"identifiers": {"object_id": "x"}},
    "an object with an empty id": OBJECT | {"identifiers": {"object_type_id": "1", "object_id": ""}},
    "an object by the id of Customer.io": OBJECT | {"identifiers": {"cio_object_id": "ob1"}},
    "a long value of an object": OBJECT | {"attributes": {"a": "x" * 1001}},
    "a truth value as an id": EVENT | {"identifiers": {"id": True}},
    "an unknown identifier": EVENT | {"identifiers": {"name": "Ada"}},
    "an anonymous id": EVENT | {"identifiers": {"anonymous_id": "a"}},
    "attributes in a list": UPDATE | {"attributes": ["a"]},
    "attributes of an event in a text": EVENT | {"attributes": "a"},
    "no relationships": PERSON | {"action": "delete_relationships"},
    "relationships": PERSON | {"action": "delete_relationships", "cio_relationships": [RELATIONSHIP]},
    "relationships that are no list": UPDATE | {"cio_relationships": RELATIONSHIP},
    "a relationship to nothing": UPDATE | {"cio_relationships": [{"identifiers": {}}]},
    "a relationship without a type": UPDATE | {"cio_relationships": [{"identifiers": {"object_id": "x"}}]},
    "a relationship of an object": OBJECT | {"cio_relationships": [{"identifiers": {"id": "1"}}]},
    "a metric": DELIVERY,
    "a metric that v2 does not have": DELIVERY | {"name": "bounced"},
}


@pytest.mark.parametrize("operation", CASES.values(), ids=CASES.keys())
def test_the_rules_are_those_of_the_simulator(operation: dict[str, Any]) -> None:
    theirs = fault(operation, Options()) or size_fault(operation)

    assert (refusal(operation) is None) is (theirs is None)
    if theirs and theirs["field"]:
        assert str(refusal(operation)).startswith(theirs["field"])
