"""The documented rules by which Customer.io refuses an operation. Limits are bytes of UTF-8.

They are written from Customer.io's documentation of the Track API, as the simulator's are; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
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


def refusal(operation: JsonObject) -> str | None:
    """Return why Customer.io refuses an operation, field and reason; None when it accepts it."""
    return next(_faults(operation), None)


def _faults(operation: JsonObject) -> Iterator[str]:
    action, kind = operation.get("action"), operation.get("type")
    for member in ("primary", "secondary") if action == "merge" else ("identifiers",):
        yield from _identifier_faults(member, operation.get(member), is_object=kind == "object")
    if kind == "person" and action in _NAMED:
        name = operation.get("name")
        if not isinstance(name, str) or not name.strip():
            yield "name is required"
        elif _bytes(name) > _EVENT_NAME_BYTES:
            yield f"name cannot be longer than {_EVENT_NAME_BYTES} bytes"
    if action in ("add_device", "delete_device"):
        yield from _device_faults(operation.get("device"), is_added=action == "add_device")
    if action in ("identify", "identify_anonymous"):
        yield from _attribute_faults(operation.get("attributes") or {})
    if len(orjson.dumps(operation)) > _ENTITY_BYTES:
        yield f"the operation must not be larger than {_ENTITY_BYTES:,} bytes"


def _identifier_faults(member: str, identifiers: Any, *, is_object: bool) -> Iterator[str]:
    if not isinstance(identifiers, dict) or not identifiers:
        yield f"{member} is required"
        return
    if not is_object and len(identifiers) != 1:
        yield f"{member}: exactly one identifier is allowed"
    for name, value in identifiers.items():
        if not isinstance(value, str | int) or value == "":
            yield f"{member}.{name} must be a text and not empty"
        elif _bytes(str(value)) > _ID_BYTES:
            yield f"{member}.{name} cannot be longer than {_ID_BYTES} bytes"


def _device_faults(device: Any, *, is_added: bool) -> Iterator[str]:
    if not isinstance(device, dict) or not device.get("token"):
        yield "device.token is required"
    elif is_added and device.get("platform") not in _PLATFORMS:
        yield f"device.platform must be {' or '.join(_PLATFORMS)}"


def _attribute_faults(attributes: JsonObject) -> Iterator[str]:
    if len(attributes) > _ATTRIBUTES:
        yield f"attributes cannot have more than {_ATTRIBUTES} members"
    for name, value in attributes.items():
        if _bytes(name) > _ATTRIBUTE_NAME_BYTES:
            yield f"attributes.{name}: the name cannot be longer than {_ATTRIBUTE_NAME_BYTES} bytes"
        elif isinstance(value, str) and _bytes(value) > _ATTRIBUTE_BYTES:
            yield f"attributes.{name} cannot be longer than {_ATTRIBUTE_BYTES:,} bytes"


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
