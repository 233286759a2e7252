"""What Segue adds to an operation on the wire, so that it may be sent twice or late.

The mapped operation is the reference's. These additions make at-least-once delivery effectively once. Every event, page
and screen of a person gets a deterministic ULID, by which Customer.io ignores the second one. Every update has a time,
not later than its acceptance, by which Customer.io can tell an older attribute from a newer one. An operation names the
primary of people who were merged.
"""

from __future__ import annotations

from typing import TypeGuard

from delivery.identity_memory import Identifiers, Identities
from delivery.ulid import derived_ulid, is_ulid
from mapping import CHANGES_IDENTITY, Effect, Operation
from mapping.envelope import JsonObject


def bodies(operations: tuple[Operation, ...], source: str, event: JsonObject, accepted_at_ms: int) -> list[JsonObject]:
    """Return the body to send for each operation of one event. The same event always gives the same bodies."""
    taken: set[str] = set()
    return [_body(operation, source, event, accepted_at_ms, taken) for operation in operations]


def addressed(
    effect: Effect, body: JsonObject, identities: Identities, happened_at_ms: int, time_s: int | None
) -> JsonObject | None:
    """Return the body with the current identifiers of its people and, of an update, the time `time_s` (Unix seconds).

    None: nothing is left to be done. The two people of a merge are the same one already, or the event happened before
    its person was deleted.
    """
    if time_s is not None and effect == "update" and body.get("timestamp") != time_s:
        body = body | {"timestamp": time_s}
    if not (identities.merged or identities.deleted_ms):
        return body
    if effect == "merge":
        primary, secondary = identities.current(body["primary"]), identities.current(body["secondary"])
        return None if primary == secondary else body | {"primary": primary, "secondary": secondary}
    relationships = body.get("cio_relationships")
    if isinstance(relationships, list):
        related = _related(relationships, identities, happened_at_ms)
        if not related and relationships and effect == "removal":
            return None
        body = body | {"cio_relationships": related}
    identifiers = body.get("identifiers")
    if body.get("type") != "person" or not isinstance(identifiers, dict):
        return body
    if effect not in CHANGES_IDENTITY and _is_late(identifiers, identities, happened_at_ms):
        return None
    return body | {"identifiers": identities.current(identifiers)}


def _related(relationships: list[JsonObject], identities: Identities, happened_at_ms: int) -> list[JsonObject]:
    """Return the relationships with the current identifiers of their people, without those of deleted people."""
    related = []
    for relationship in relationships:
        named = relationship.get("identifiers")
        identifiers: Identifiers = named if isinstance(named, dict) else {}
        if not _is_late(identifiers, identities, happened_at_ms):
            current = {"identifiers": identities.current(identifiers)} if identifiers else {}
            related.append(relationship | current)
    return related


def _is_late(identifiers: Identifiers, identities: Identities, happened_at_ms: int) -> bool:
    """Whether the event happened before the person that it names, or their primary, was deleted.

    Of equal times the order of the lane counts: the deletion was delivered first.
    """
    return any(
        happened_at_ms < identities.deleted_ms[key]
        for key in map(identities.key_of, (identifiers, identities.current(identifiers)))
        if key in identities.deleted_ms
    )


def _body(operation: Operation, source: str, event: JsonObject, accepted_at_ms: int, taken: set[str]) -> JsonObject:
    subscription, action, effect, _, body, _ = operation
    if effect == "event":
        # The mapped id if it is a ULID, once for each event; else an id derived from it or from the message id.
        event_id = str(body.get("id") or event.get("messageId"))
        if is_ulid(event_id) and event_id not in taken:
            taken.add(event_id)
        else:
            time = body.get("timestamp")
            time_ms = int(time * 1000) if _is_unix_time(time) else accepted_at_ms
            event_id = derived_ulid(time_ms, source, event_id, action, str(subscription))
        return {**body, "id": event_id}
    if effect == "update":
        time = body.get("timestamp")
        if not _is_unix_time(time) or time > accepted_at_ms / 1000:  # a clock that is ahead is not believed
            return body | {"timestamp": accepted_at_ms // 1000}
    return body


def _is_unix_time(value: object) -> TypeGuard[float]:
    return type(value) is int or type(value) is float  # True is an int too
