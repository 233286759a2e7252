"""Events to the items that are sent for them: translated, made safe to repeat, addressed to who the people are now."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

import redis

import lanes
import mapping
from mapping.event import JsonObject, message_key, unpack
from workers import names, people, wire
from workers.people import Known, Update
from workers.requests import Item, encode

DAY_S = 86_400
# Python computes in one thread at a time; those that wait their turn here do not interrupt it, which costs both.
_computing = threading.Lock()


class Prepared(NamedTuple):
    """An event with what is to be sent for it, in order."""

    event: lanes.ClaimedEvent
    items: tuple[Item, ...]
    failures: tuple[mapping.Failure, ...]
    timestamp: Any  # the event's own
    accepted_at_ms: int  # for the first time
    late: bool  # something was left out: it came late for a person who was deleted
    order: mapping.Order | None  # the event is one: when it is sent, the person is to be forgotten here too
    message_id: str  # behind its source, as ingest remembers it
    changes_names: bool  # and has to keep a distance that it has not yet: it must not be sent

    @property
    def happened_at_ms(self) -> int:
        """When it happened: by the event itself, else when it was accepted."""
        return _happened_at_ms(self.timestamp, self.accepted_at_ms)


def prepare(
    events: Sequence[lanes.ClaimedEvent], client: redis.Redis, destination: mapping.Destination, *, keeps_distance: bool
) -> list[Prepared]:
    """Return the events prepared, in their order. What is mapped depends on nothing remembered, and on no clock.

    Where what changes names `keeps_distance`, what is behind it may not be sent before it either.
    """
    with _computing:
        drafts = [_draft(event, destination) for event in events]
    rising = destination.delivery.identify_times == "rising"
    known = people.look_up(
        client,
        destination.name,
        destination.delivery.remember_days * DAY_S,
        [body for draft in drafts for body in draft.bodies],
        [update for draft in drafts if (update := draft.update())],
        keeps_distance=keeps_distance,
    )
    with _computing:
        return [draft.prepared(known, rising) for draft in drafts]


class _Draft(NamedTuple):
    event: lanes.ClaimedEvent
    translation: mapping.Translation
    bodies: list[JsonObject]
    accepted_at_ms: int  # for the first time
    timestamp: Any
    order: mapping.Order | None
    message_id: str

    def update(self) -> Update | None:
        """Return the event's updates of a person as one; None when there are none.

        A merge counts as one of both people: who remains has the attributes of the other one, with their times.
        """
        updates = [body for body in self.bodies if wire.is_update(body)]
        times = [int(body["timestamp"]) for body in updates]
        times += [0 for body in self.bodies if body.get("action") == "merge"]
        if not times:
            return None
        keys = self.event.keys
        given = tuple(chain.from_iterable(names.given(body, keys) for body in updates))
        updates_only = any(map(names.updates_only, updates))
        return Update(self.event.sequence, max(times), self.accepted_at_ms // 1000, keys, given, updates_only)

    def prepared(self, known: Known, rising: bool) -> Prepared:
        items, late, sequence = [], False, self.event.sequence
        time_s = known.times_s.get(sequence) if rising else None
        happened_at_ms = _happened_at_ms(self.timestamp, self.accepted_at_ms) if known.deleted_ms else 0
        for operation, body in zip(self.translation.operations, self.bodies, strict=True):
            sent = wire.addressed(body, known, happened_at_ms, time_s)
            if sent is not None:
                person = people.key_of(sent["identifiers"]) if wire.is_update(sent) else None
                items.append(encode(sequence, operation, sent, self.message_id, person or ""))
            else:
                late = late or body["action"] != "merge"
        return Prepared(
            self.event,
            tuple(items),
            self.translation.failures,
            self.timestamp,
            self.accepted_at_ms,
            late,
            self.order,
            self.message_id,
            sequence in known.changing,
        )


def _draft(event: lanes.ClaimedEvent, destination: mapping.Destination) -> _Draft:
    if not event.body:  # it was forgotten: nothing is left to be sent
        return _Draft(event, mapping.Translation((), ()), [], event.accepted_at_ms, None, None, "")
    source, content, again = unpack(event.body)
    accepted_at_ms = again.get("accepted_at_ms", event.accepted_at_ms)
    if "requests" in again:
        operations = tuple(_as_it_was(request, destination) for request in again["requests"])
        translation = mapping.Translation(operations, ())
        bodies = [operation.body for operation in operations]
    else:
        translation = mapping.translate(content, destination, accepted_at_ms / 1000)
        bodies = wire.bodies(translation.operations, source, content, accepted_at_ms)
    order, message_id = mapping.order_of(content), message_key(source, content)
    return _Draft(event, translation, bodies, accepted_at_ms, content.get("timestamp"), order, message_id)


def _as_it_was(stored: JsonObject, destination: mapping.Destination) -> mapping.Operation:
    """Return the operation of a stored request, see `workers.letters`."""
    named = (one.index for one in destination.subscriptions if one.name == stored["subscription"])
    return mapping.Operation(
        next(named, -1), stored["action"], stored["path"], stored["request"], stored.get("payload")
    )


def _happened_at_ms(timestamp: Any, accepted_at_ms: int) -> int:
    try:
        return int(datetime.fromisoformat(timestamp).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        return accepted_at_ms
