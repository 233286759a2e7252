"""The validation of one operation (a v2 entity) when it is received.

Only the form is validated. Whether a person has the identifier is checked when the operation is applied. Limits are
bytes of UTF-8.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from simulator.options import Options
from simulator.person import Json, Trace

MAX_ENTITY_BYTES: Final = 32 * 1024
MAX_BATCH_BYTES: Final = 500_000
MAX_ID_BYTES: Final = 150
MAX_NAME_BYTES: Final = 150
MAX_VALUE_BYTES: Final = 1000
MAX_ATTRIBUTES: Final = 300
MAX_EVENT_NAME_BYTES: Final = 100
TRACE: Final = "segue_trace"

NAMED: Final = frozenset({"event", "page", "screen"})
ULID: Final = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.IGNORECASE)

_MERGE_KINDS = ("id", "email", "cio_id")
_PERSON_ACTIONS = frozenset(
    [
        *NAMED,
        "identify",
        "delete",
        "suppress",
        "unsuppress",
        "add_device",
        "delete_device",
        "add_relationships",
        "delete_relationships",
        "merge",
        "viewed_content",
        "clicked_content",
    ]
)
_OBJECT_ACTIONS = frozenset({"identify", "identify_anonymous", "delete", "add_relationships", "delete_relationships"})
_ACTIONS = {"person": _PERSON_ACTIONS, "object": _OBJECT_ACTIONS, "delivery": frozenset({"event"})}
_METRICS = ("opened", "converted", "delivered")


def fault(operation: Any, options: Options) -> Json | None:
    """Return why the operation is refused, `{"reason", "field", "message"}`; None when it is accepted."""
    if not isinstance(operation, dict):
        return _fault("invalid", "", "must be an object")
    kind, action = operation.get("type"), operation.get("action")
    if not isinstance(kind, str) or kind not in _ACTIONS:
        return _fault("invalid", "type", "unknown type")
    if not isinstance(action, str) or action not in _ACTIONS[kind]:
        return _fault("invalid", "action", "unknown action")
    if action == "merge":
        return _who_fault(operation, "primary") or _who_fault(operation, "secondary")
    return (
        _identifiers_fault(operation, kind, options)
        or _members_fault(operation, kind, action)
        or _event_id_fault(operation, action, options)
        or _attributes_fault(operation)
    )


def size_fault(operation: Any) -> Json | None:
    """Return the fault of an item that is too large for v2; None for another item."""
    if len(orjson.dumps(operation)) <= MAX_ENTITY_BYTES:
        return None
    return _fault("invalid", "", f"must not be larger than {MAX_ENTITY_BYTES} bytes")


def take_trace(operation: Json) -> Trace | None:
    """Remove the trace from the attributes of the operation and return it; None without one.

    Tests add the attribute `segue_trace`, `STREAM:POSITION`, to have the order of a stream checked.
    """
    attributes = operation.get("attributes")
    if not isinstance(attributes, dict) or TRACE not in attributes:
        return None
    stream, _, position = str(attributes.pop(TRACE)).rpartition(":")
    return Trace(stream, int(position)) if position.isdigit() else None


def _fault(reason: str, field: str, message: str) -> Json:
    return {"reason": reason, "field": field, "message": message}


def _who_fault(operation: Json, member: str) -> Json | None:
    who = operation.get(member)
    if not isinstance(who, dict) or len(who) != 1:
        return _fault("required", member, "exactly one identifier is required")
    kind, value = next(iter(who.items()))
    if kind not in _MERGE_KINDS:
        return _fault("invalid", f"{member}.{kind}", "unknown identifier")
    return _id_fault(f"{member}.{kind}", value)


def _identifiers_fault(operation: Json, kind: str, options: Options) -> Json | None:
    who = operation.get("identifiers")
    if not isinstance(who, dict) or not who:
        return _fault("required", "identifiers", "is required")
    if kind == "object":
        return _object_fault("identifiers", who, options)
    if len(who) != 1:
        return _fault("invalid", "identifiers", "exactly one identifier is allowed")
    name, value = next(iter(who.items()))
    if kind == "person" and name not in (*_MERGE_KINDS, "anonymous_id", *(["phone"] if options.phone else [])):
        return _fault("invalid", f"identifiers.{name}", "unknown identifier")
    return _id_fault(f"identifiers.{name}", value)


def _object_fault(field: str, who: Json, options: Options) -> Json | None:
    """Return the fault of an object's identifiers."""
    if "cio_object_id" in who:
        return None
    for name in ("object_type_id", "object_id"):
        if not who.get(name):
            return _fault("required", f"{field}.{name}", "is required")
    if not options.auto_create_object_types and str(who["object_type_id"]) not in options.object_types:
        return _fault("invalid", f"{field}.object_type_id", "there is no such object type")
    return _id_fault(f"{field}.object_id", who["object_id"])


def _id_fault(field: str, value: Any) -> Json | None:
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        return _fault("invalid", field, "must be a text and not empty")
    if _bytes(str(value)) > MAX_ID_BYTES:
        return _fault("invalid", field, f"cannot be longer than {MAX_ID_BYTES} bytes")
    return None


def _members_fault(operation: Json, kind: str, action: str) -> Json | None:
    if kind == "delivery":
        known = operation.get("name") in _METRICS
        return None if known else _fault("invalid", "name", f"must be one of {', '.join(_METRICS)}")
    if action in NAMED:
        name = operation.get("name")
        if not isinstance(name, str) or not name.strip():
            return _fault("required", "name", "is required")
        if _bytes(name) > MAX_EVENT_NAME_BYTES:
            return _fault("invalid", "name", f"cannot be longer than {MAX_EVENT_NAME_BYTES} bytes")
    if action in ("add_device", "delete_device"):
        device = operation.get("device")
        if not isinstance(device, dict) or not device.get("token"):
            return _fault("required", "device.token", "is required")
        if action == "add_device" and device.get("platform") not in ("ios", "android"):
            return _fault("invalid", "device.platform", "must be ios or android")
    if action in ("add_relationships", "delete_relationships") and not operation.get("cio_relationships"):
        return _fault("required", "cio_relationships", "is required")
    return _relationships_fault(kind, operation.get("cio_relationships"))


def _relationships_fault(kind: str, relationships: Any) -> Json | None:
    if relationships is None:
        return None
    if not isinstance(relationships, list):
        return _fault("invalid", "cio_relationships", "must be an array")
    needed = ("object_type_id", "object_id") if kind == "person" else ()
    for index, relationship in enumerate(relationships):
        who = relationship.get("identifiers") if isinstance(relationship, dict) else None
        if not isinstance(who, dict) or not who:
            return _fault("required", f"cio_relationships[{index}].identifiers", "is required")
        missing = next((name for name in needed if not who.get(name) and "cio_object_id" not in who), None)
        if missing is not None:
            return _fault("required", f"cio_relationships[{index}].identifiers.{missing}", "is required")
    return None


def _event_id_fault(operation: Json, action: str, options: Options) -> Json | None:
    event_id = operation.get("id")
    if options.invalid_ulid == "regenerate" or action not in NAMED or event_id is None:
        return None
    return None if isinstance(event_id, str) and ULID.fullmatch(event_id) else _fault("invalid", "id", "must be a ULID")


def _attributes_fault(operation: Json) -> Json | None:
    attributes = operation.get("attributes")
    if attributes is None:
        return None
    if not isinstance(attributes, dict):
        return _fault("invalid", "attributes", "must be an object")
    if operation["action"] not in ("identify", "identify_anonymous"):
        return None
    if len(attributes) > MAX_ATTRIBUTES:
        return _fault("invalid", "attributes", f"cannot have more than {MAX_ATTRIBUTES} properties")
    for name, value in attributes.items():
        if _bytes(name) > MAX_NAME_BYTES:
            return _fault(
                "invalid", f"attributes.{name}", f"property name cannot be longer than {MAX_NAME_BYTES} bytes"
            )
        if isinstance(value, str) and _bytes(value) > MAX_VALUE_BYTES:
            text = f"property value cannot be longer than {MAX_VALUE_BYTES} bytes"
            return _fault("invalid", f"attributes.{name}", text)
    return None


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
