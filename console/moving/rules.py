"""The documented rules by which Customer.io refuses an operation. Limits are bytes of UTF-8.

They are written from Customer.io's documentation of the Track API, as the simulator's are; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

import orjson

from mapping.envelope import JsonObject

_ENTITY_BYTES: Final = 32 * 1024
_ID_BYTES: Final = 150
_EVENT_NAME_BYTES: Final = 100
_ATTRIBUTES: Final = 300
_ATTRIBUTE_NAME_BYTES: Final = 150
_ATTRIBUTE_BYTES: Final = 1000
_NAMED: Final = frozenset({"event", "page", "screen"})
_PLATFORMS: Final = ("ios", "android")
_METRICS: Final = ("opened", "converted", "delivered")
_PERSON_IDS: Final = ("id", "email", "cio_id")
_OBJECT_IDS: Final = ("object_type_id", "object_id")  # both, or the cio_object_id alone
_OBJECT_ID: Final = "cio_object_id"


def refusal(operation: JsonObject) -> str | None:
    """Return why Customer.io refuses an operation, field and reason; None when it accepts it.

    What depends on the workspace is accepted: a phone number as an identifier, and types of objects.
    """
    return next(_faults(operation), None)


def _faults(operation: JsonObject) -> Iterator[str]:
    action, kind = operation.get("action"), operation.get("type")
    if action == "merge":
        for member in ("primary", "secondary"):
            yield from _person_faults(member, operation.get(member), _PERSON_IDS)
    elif kind == "object":
        yield from _object_faults("identifiers", operation.get("identifiers"))
    else:
        known = (*_PERSON_IDS, "phone", "anonymous_id") if kind == "person" else ("id",)
        yield from _person_faults("identifiers", operation.get("identifiers"), known)
    if kind == "delivery" and operation.get("name") not in _METRICS:
        yield f"name must be {' or '.join(_METRICS)}"
    if kind == "person" and action in _NAMED:
        yield from _name_faults(operation.get("name"))
    if action in ("add_device", "delete_device"):
        yield from _device_faults(operation.get("device"), is_added=action == "add_device")
    if action in ("add_relationships", "delete_relationships") and not operation.get("cio_relationships"):
        yield "cio_relationships is required"
    yield from _relationship_faults(operation.get("cio_relationships"), is_of_person=kind == "person")
    yield from _attribute_faults(operation.get("attributes"), is_update=action in ("identify", "identify_anonymous"))
    if len(orjson.dumps(operation)) > _ENTITY_BYTES:
        yield f"the operation must not be larger than {_ENTITY_BYTES:,} bytes"


def _person_faults(member: str, identifiers: Any, known: Collection[str]) -> Iterator[str]:
    if not isinstance(identifiers, dict) or not identifiers:
        yield f"{member} is required"
        return
    if len(identifiers) != 1:
        yield f"{member}: exactly one identifier is allowed"
    for name, value in identifiers.items():
        if name not in known:
            yield f"{member}.{name} must be {' or '.join(known)}"
        yield from _id_faults(f"{member}.{name}", value)


def _object_faults(member: str, identifiers: Any) -> Iterator[str]:
    if not isinstance(identifiers, dict) or not identifiers:
        yield f"{member} is required"
    elif _OBJECT_ID not in identifiers:
        for name in _OBJECT_IDS:
            if name in identifiers:
                yield from _id_faults(f"{member}.{name}", identifiers[name])
            else:
                yield f"{member}.{name} is required"


def _id_faults(field: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        yield f"{field} must be a text and not empty"
    elif _bytes(str(value)) > _ID_BYTES:
        yield f"{field} cannot be longer than {_ID_BYTES} bytes"


def _name_faults(name: Any) -> Iterator[str]:
    if not isinstance(name, str) or not name.strip():
        yield "name is required"
    elif _bytes(name) > _EVENT_NAME_BYTES:
        yield f"name cannot be longer than {_EVENT_NAME_BYTES} bytes"


def _device_faults(device: Any, *, is_added: bool) -> Iterator[str]:
    if not isinstance(device, dict) or not device.get("token"):
        yield "device.token is required"
    elif is_added and device.get("platform") not in _PLATFORMS:
        yield f"device.platform must be {' or '.join(_PLATFORMS)}"


def _relationship_faults(relationships: Any, *, is_of_person: bool) -> Iterator[str]:
    if relationships is not None and not isinstance(relationships, list):
        yield "cio_relationships must be a list"
        return
    for index, relationship in enumerate(relationships or ()):
        member = f"cio_relationships[{index}].identifiers"
        identifiers = relationship.get("identifiers") if isinstance(relationship, dict) else None
        if is_of_person:
            yield from _object_faults(member, identifiers)
        elif not isinstance(identifiers, dict) or not identifiers:
            yield f"{member} is required"


def _attribute_faults(attributes: Any, *, is_update: bool) -> Iterator[str]:
    if attributes is not None and not isinstance(attributes, dict):
        yield "attributes must be an object"
        return
    if not is_update or not attributes:
        return
    if len(attributes) > _ATTRIBUTES:
        yield f"attributes cannot have more than {_ATTRIBUTES} members"
    for name, value in attributes.items():
        if _bytes(name) > _ATTRIBUTE_NAME_BYTES:
            yield f"attributes.{name}: the name cannot be longer than {_ATTRIBUTE_NAME_BYTES} bytes"
        elif isinstance(value, str) and _bytes(value) > _ATTRIBUTE_BYTES:
            yield f"attributes.{name} cannot be longer than {_ATTRIBUTE_BYTES:,} bytes"


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
