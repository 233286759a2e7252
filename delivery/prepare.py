"""Events to the items that are sent for them: translated, made safe to repeat, addressed to who the people are now."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

import orjson

import lanes
import mapping
from delivery import identifier_changes, identity_memory, wire
from delivery.batching import Item, encode, written
from delivery.identity_memory import Known, Update
from mapping.envelope import JsonObject, message_key, unpack

# Python computes in one thread at a time; those that wait their turn here do not interrupt it, which costs both.
_computing = threading.Lock()


class Prepared(NamedTuple):
    """An event with what is to be sent for it, in order."""

    event: lanes.ClaimedEvent
    items: tuple[Item, ...]
    people: tuple[str, ...]  # keys of all whom they name, as mapped
    update: Update | None  # their updates of a person as one
    failures: tuple[mapping.Failure, ...]
    timestamp: Any  # the event's own
    accepted_at_ms: int  # for the first time
    order: mapping.PrivacyRequest | None  # the event is one: when it is sent, the person is to be forgotten here too
    message_id: str  # behind its source, as ingest remembers it
    late: bool = False  # something was left out: it came late for a person who was deleted
    changes_names: bool = False  # and has to keep a distance that it has not yet: it must not be sent

    @property
    def happened_at_ms(self) -> int:
        """When it happened: by the event itself, else when it was accepted."""
        try:
            return int(datetime.fromisoformat(self.timestamp).timestamp() * 1000)
        except (TypeError, ValueError, OverflowError):
            return self.accepted_at_ms


def prepare(
    events: Sequence[lanes.ClaimedEvent], queue: lanes.Queue, destination: mapping.Destination
) -> list[Prepared]:
    """Return the events prepared, in their order. What is mapped depends on nothing remembered, and on no clock.

    Where what changes names `keeps_distance`, what is behind it may not be sent before it either.
    """
    with _computing:
        prepared = [_mapped(event, destination) for event in events]
    known = identity_memory.look_up(
        queue,
        chain.from_iterable([one.people for one in prepared]),
        [one.update for one in prepared if one.update],
    )
    if not known:
        return prepared
    rising = destination.delivery.identify_times == "rising"
    with _computing:
        return [_addressed(one, known, rising) for one in prepared]


def _mapped(event: lanes.ClaimedEvent, destination: mapping.Destination) -> Prepared:
    """Return the event prepared, as if nothing were known of its people."""
    if not event.body:  # it was forgotten: nothing is left to be sent
        return Prepared(event, (), (), None, (), None, event.accepted_at_ms, None, "")
    source, content, again = unpack(event.body)
    accepted_at_ms = again.get("accepted_at_ms", event.accepted_at_ms)
    operations, failures = translation_of(content, again, destination, accepted_at_ms)
    if "requests" in again:
        bodies = [operation.body for operation in operations]
    else:
        bodies = wire.bodies(operations, source, content, accepted_at_ms)
    message_id = message_key(source, content)
    items, named = [], []
    for place, (operation, body) in enumerate(zip(operations, bodies, strict=True)):
        items.append(encode(event.sequence, place, operation, body, message_id, _updated(operation.effect, body)))
        named += identity_memory.named_in(body)
    return Prepared(
        event,
        tuple(items),
        tuple(named),
        _update(event, operations, bodies, accepted_at_ms),
        failures,
        content.get("timestamp"),
        accepted_at_ms,
        mapping.privacy_request_of(content),
        message_id,
    )


def _addressed(one: Prepared, known: Known, rising: bool) -> Prepared:
    """Return the event with its items written anew for who their people are now."""
    if one.event.sequence in known.changing:
        one = one._replace(changes_names=True)
    if not (one.update or known.have_moved(one.people)):
        return one
    items, late = [], False
    time_s = known.times_s.get(one.event.sequence) if rising else None
    happened_at_ms = one.happened_at_ms if known.deleted_ms else 0
    for item in one.items:
        body = orjson.loads(item.data)
        sent = wire.addressed(item.effect, body, known, happened_at_ms, time_s)
        if sent is None:
            late = late or item.effect != "merge"
        else:
            items.append(
                item if sent is body else item._replace(data=written(sent), person=_updated(item.effect, sent))
            )
    return one._replace(items=tuple(items), late=late)


def translation_of(
    content: JsonObject, again: JsonObject, destination: mapping.Destination, accepted_at_ms: int
) -> mapping.Translation:
    """Return what an event comes to: mapped, or the requests that a replay sends as they were."""
    if "requests" in again:
        return mapping.Translation(tuple(_as_it_was(request, destination) for request in again["requests"]), ())
    return mapping.translate(content, destination, accepted_at_ms / 1000)


def _updated(effect: mapping.Effect, body: JsonObject) -> str:
    """Return the key of the person whom an update is about; nothing for any other body."""
    return (effect == "update" and identity_memory.key_of(body.get("identifiers", {}))) or ""


def _update(
    event: lanes.ClaimedEvent,
    operations: Sequence[mapping.Operation],
    bodies: Sequence[JsonObject],
    accepted_at_ms: int,
) -> Update | None:
    """Return the event's updates of a person as one; None when there are none.

    A merge counts as one of both people: who remains has the attributes of the other one, with their times.
    """
    updates, times = [], []
    for operation, body in zip(operations, bodies, strict=True):
        if operation.effect == "update":
            updates.append(body)
            times.append(int(body["timestamp"]))
        elif operation.effect == "merge":
            times.append(0)
    if not times:
        return None
    given = tuple(chain.from_iterable(identifier_changes.given(body, event.keys) for body in updates))
    updates_only = any(map(identifier_changes.updates_only, updates))
    return Update(event.sequence, max(times), accepted_at_ms // 1000, event.keys, given, updates_only)


def _as_it_was(stored: JsonObject, destination: mapping.Destination) -> mapping.Operation:
    """Return the operation of a stored request, see `dead_letters.record`."""
    named = (one.index for one in destination.subscriptions if one.name == stored["subscription"])
    action = stored["action"]
    return mapping.Operation(
        next(named, -1),
        action,
        mapping.effect_of(action),
        stored["path"],
        stored["request"],
        stored.get("payload"),
    )
