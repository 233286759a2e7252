"""What Segue adds to an operation on the wire, so that sending it twice or late does no harm.

The mapped operation is the reference's; these additions make at-least-once delivery effectively once. Every event, page
and screen of a person gets a deterministic ULID; every identify says when it happened, so that Customer.io can tell an
older attribute from a newer one; people are addressed as who they have become.
"""

from __future__ import annotations

from typing import TypeGuard

from delivery.identity_memory import Known, Who, key_of
from delivery.ulid import derived_ulid, is_ulid
from mapping import CHANGES_IDENTITY, Effect, Operation
from mapping.envelope import JsonObject


def bodies(operations: tuple[Operation, ...], source: str, event: JsonObject, accepted_at_ms: int) -> list[JsonObject]:
    """Return the body to send for each operation of one event; the same event always gives the same bodies."""
    taken: set[str] = set()
    return [_body(operation, source, event, accepted_at_ms, taken) for operation in operations]


def addressed(
    effect: Effect, body: JsonObject, known: Known, happened_at_ms: int, time_s: int | None
) -> JsonObject | None:
    """Return the body addressed to who its people have become, an identify with the time `time_s`.

    None: nothing is left to be done. The people to be merged are one already, or the operation came late for a person
    who was deleted.
    """
    if time_s is not None and effect == "update" and body.get("timestamp") != time_s:
        body = body | {"timestamp": time_s}
    if not (known.merged or known.deleted_ms):
        return body
    if effect == "merge":
        primary, secondary = known.who(body["primary"]), known.who(body["secondary"])
        return None if primary == secondary else body | {"primary": primary, "secondary": secondary}
    relationships = body.get("cio_relationships")
    if isinstance(relationships, list):
        related = [_related(one, known) for one in relationships if not _is_late(_who(one), known, happened_at_ms)]
        if not related and relationships and effect == "removal":
            return None
        body = body | {"cio_relationships": related}
    who = body.get("identifiers")
    if body.get("type") != "person" or not isinstance(who, dict):
        return body
    if effect not in CHANGES_IDENTITY and _is_late(who, known, happened_at_ms):
        return None
    return body | {"identifiers": known.who(who)}


def _who(relationship: JsonObject) -> Who:
    who = relationship.get("identifiers")
    return who if isinstance(who, dict) else {}


def _is_late(who: Who, known: Known, happened_at_ms: int) -> bool:
    return any(
        happened_at_ms <= known.deleted_ms[key]
        for key in (key_of(who), key_of(known.who(who)))
        if key in known.deleted_ms
    )


def _related(relationship: JsonObject, known: Known) -> JsonObject:
    who = _who(relationship)
    return relationship | {"identifiers": known.who(who)} if who else relationship


def _body(operation: Operation, source: str, event: JsonObject, accepted_at_ms: int, taken: set[str]) -> JsonObject:
    body = operation.body
    if operation.effect == "event":
        return body | {"id": _event_id(operation, source, event, accepted_at_ms, taken)}
    if operation.effect == "update" and not _is_unix_time(body.get("timestamp")):
        return body | {"timestamp": accepted_at_ms // 1000}
    return body


def _event_id(operation: Operation, source: str, event: JsonObject, accepted_at_ms: int, taken: set[str]) -> str:
    """Keep an id that is a ULID already, once per event; derive it from that id or the message id otherwise."""
    mapped = str(operation.body.get("id") or event.get("messageId"))
    if is_ulid(mapped) and mapped not in taken:
        taken.add(mapped)
        return mapped
    happened_at = operation.body.get("timestamp")
    time_ms = int(happened_at * 1000) if _is_unix_time(happened_at) else accepted_at_ms
    return derived_ulid(time_ms, source, mapped, operation.action, str(operation.subscription))


def _is_unix_time(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
