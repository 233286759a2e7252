"""Events to the items that are sent for them, in two steps.

`prepare` maps the events and encodes their operations. It depends on nothing but the event and the destination.
`address` then reads what is remembered of the people that the operations name. It rewrites the items of people who were
merged or deleted, and the times of updates. It removes attributes of which a newer value was sent.

An exception of one event is the `error` of that event alone. It has no items then, and has to be buried.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import orjson
from redis.exceptions import RedisError

import lanes
import mapping
from delivery import attribute_clocks, fates, identifier_changes, identity_memory, unapplied, unsent, wire
from delivery.batching import Item, encode, json_of
from delivery.identity_memory import Identities, Update
from lanes import digest
from lanes.fates import UNKNOWN
from mapping.envelope import JsonObject, message_key, unpack, unpack_encodable
from mapping.ordering_keys import IdentifierScheme

# Python computes in one thread at a time. Threads that wait here for their turn do not interrupt the one that computes,
# which would cost both of them time.
_computing = threading.Lock()
# Effects of operations that change times or clocks.
_REGISTERED: Final = frozenset({"update", "merge", "object"})


class Prepared(NamedTuple):
    """An event with its items in order. The translation itself is not kept: see `operations_of`."""

    event: lanes.ClaimedEvent
    items: tuple[Item, ...]
    people: tuple[str, ...]  # keys of all people that the items name, as mapped
    update: Update | None  # the items that update people and objects, as one
    failures: tuple[mapping.Failure, ...]
    timestamp: Any  # the event's own
    accepted_at_ms: int  # the first time, if the event was replayed
    privacy_request: mapping.PrivacyRequest | None  # that the event is: when it is delivered, the person is erased here
    source: str
    message_id: str  # SOURCE:MESSAGE ID
    unsent: tuple[str, ...] = ()  # why nothing is sent for it, of `delivery.unsent`
    counted_as: str = UNKNOWN  # the name of its fate, when it is delivered
    updated: tuple[str, ...] = ()  # keys of the people that it updates, when its source is trusted
    is_shadow: bool = False  # nothing is sent for it, see `mapping.cutover`
    late: bool = False  # an item was dropped, as the event happened before its person was deleted
    changes_identifiers: bool = False  # and has no cooldown yet: it must not be sent now
    redirects: bool = True  # whether later events of the people that it merges go to the primary
    error: Exception | None = None  # an exception that no code expected

    @property
    def happened_at_ms(self) -> int:
        """When the event happened (Unix ms), by its own timestamp, at most when it was accepted."""
        return attribute_clocks.client_time_ms(self.timestamp, self.accepted_at_ms)


Step = Callable[[Sequence[Prepared]], Sequence[Prepared]]  # something that is done for many events at once


class Trust(NamedTuple):
    """The names of sources whose events are evidence of who a person is."""

    # Their updates end a merge that no trusted source made.
    trusted: frozenset[str] = frozenset()
    # Later events of the people that they merge go to the primary, whether these were known before or not; None: all.
    merging: frozenset[str] | None = None


NO_TRUST: Final = Trust()


def prepare(
    events: Sequence[lanes.ClaimedEvent], destination: mapping.Destination, trust: Trust = NO_TRUST
) -> list[Prepared]:
    """Return the events mapped and encoded, in their order."""
    with _computing:
        return [_mapped_alone(event, destination, trust) for event in events]


def isolated(step: Step, events: Sequence[Prepared]) -> Sequence[Prepared]:
    """Return what the step returns for the events. When it fails, it is repeated for each event alone, and the events
    for which it fails again get the exception as their `error`. An exception of Redis is raised."""
    try:
        return step(events)
    except RedisError:
        raise
    except Exception as error:
        if len(events) == 1:
            return [events[0]._replace(error=error)]
        return [result for event in events for result in isolated(step, [event])]


def address(
    prepared: Sequence[Prepared], queue: lanes.Queue, destination: mapping.Destination, trust: Trust = NO_TRUST
) -> Sequence[Prepared]:
    """Return the events as they are to be sent now, in their order; registers their updates.

    Call it with events in the order in which they are sent, after everything that was sent before them was remembered.
    """
    return isolated(lambda events: _address(events, queue, destination, trust), prepared) if prepared else prepared


def _address(
    prepared: Sequence[Prepared], queue: lanes.Queue, destination: mapping.Destination, trust: Trust
) -> Sequence[Prepared]:
    identities = identity_memory.register(
        queue,
        chain.from_iterable([event.people for event in prepared]),
        [event.update for event in prepared if event.update],
        destination.identifiers,
        frozenset(chain.from_iterable([event.updated for event in prepared])) if trust.trusted else (),
    )
    if trust.merging is not None:
        prepared = [
            _with_evidence(event, identities, trust.merging) if event.update and event.update.merges else event
            for event in prepared
        ]
    if not identities:
        return prepared
    rising = destination.delivery.identify_times == "rising"
    with _computing:
        addressed = [_addressed(event, identities, rising) for event in prepared]
        # An event alone keeps its depth, which is told from the others.
        is_chained = identities.unbounded and len(addressed) > 1
        return _without_chains(addressed, identities.unbounded) if is_chained else addressed


def _with_evidence(prepared: Prepared, identities: Identities, merging: Collection[str]) -> Prepared:
    """Return the event marked when it merges an unknown person, and its source may not merge."""
    if prepared.source in merging:
        return prepared
    merges = [orjson.loads(item.data) for item in prepared.items if item.effect == "merge"]
    known = all(identities.key_of(body["secondary"]) in identities.known for body in merges)
    return prepared if known else prepared._replace(redirects=False)


def _without_chains(prepared: Sequence[Prepared], keys: Collection[bytes]) -> Sequence[Prepared]:
    """Return the events at the depths that they have without these keys (digests), by depth. A key by which an
    operation names its person stays."""
    depth_of: dict[bytes, int] = {}
    moved = []
    for event in prepared:
        own = {digest(person) for person in event.people}
        lanes_of = [key for key in event.event.keys if key not in keys or key in own]
        depth = max((depth_of.get(key, 0) for key in lanes_of), default=0)
        depth_of.update(dict.fromkeys(lanes_of, depth + 1))
        moved.append(event._replace(event=event.event._replace(depth=depth)))
    return sorted(moved, key=lambda event: event.event.depth)


def operations_of(event: lanes.ClaimedEvent, destination: mapping.Destination) -> tuple[mapping.Operation, ...]:
    """Return the operations of which the event's items were made, by `Item.operation_index`.

    They are mapped again, with the same result. A claim that kept them until they are settled would keep 3 KB an event,
    too much for the processor's cache. That cost a tenth of a worker's time. Only dead letters need them.
    """
    _, content, requeued = unpack(event.body)
    accepted_at_ms = requeued.get("accepted_at_ms", event.accepted_at_ms)
    return _translation(content, requeued, destination, accepted_at_ms).operations


def _translation(
    content: JsonObject, requeued: JsonObject, destination: mapping.Destination, accepted_at_ms: int
) -> mapping.Translation:
    """Return the translation of an event: mapped, or the recorded requests of a replay that sends these.

    `requeued` is what a replay stored with the event, see `dead_letters.record`.
    """
    if "requests" in requeued:
        return mapping.Translation(tuple(_recorded(request, destination) for request in requeued["requests"]), ())
    return mapping.translate(content, destination, accepted_at_ms / 1000)


def _mapped_alone(event: lanes.ClaimedEvent, destination: mapping.Destination, trust: Trust) -> Prepared:
    try:
        return _mapped(event, destination, trust)
    except Exception as error:
        return _without_items(event)._replace(error=error)


def _mapped(event: lanes.ClaimedEvent, destination: mapping.Destination, trust: Trust) -> Prepared:
    """Return the event as if nothing were remembered of its people."""
    if not event.body:  # erased while a claim owned it: nothing is left to be sent
        return _without_items(event)
    source, content, requeued = unpack_encodable(event.body)
    accepted_at_ms = requeued.get("accepted_at_ms", event.accepted_at_ms)
    translation = _translation(content, requeued, destination, accepted_at_ms)
    operations, is_recorded = translation.operations, "requests" in requeued
    if is_recorded:
        bodies = [operation.body for operation in operations]
    else:
        bodies = wire.bodies(operations, source, content, accepted_at_ms)
    message_id, timestamp = message_key(source, content), content.get("timestamp")
    is_shadow = destination.cutover is not None and destination.cutover.excludes(content, accepted_at_ms)
    items, people, update = [], [], None
    for index, body in enumerate(bodies):
        operation = operations[index]
        items.append(encode(event.sequence, index, operation, body, message_id))
        people += identity_memory.named_in(body, destination.identifiers)
        if update is None and operation.effect in _REGISTERED:
            update = _update(
                event, operations, bodies, timestamp, accepted_at_ms, destination.identifiers, is_recorded=is_recorded
            )
    # All fields in their order: this takes a third of the time of `Prepared(…)`.
    values = (
        event,
        tuple(items),
        tuple(people),
        update,
        translation.failures,
        timestamp,
        accepted_at_ms,
        mapping.privacy_request_of(content),
        source,
        message_id,
        unsent.reasons(translation),
        fates.shadowed(source) if is_shadow and operations else fates.mapped(source, translation),
        _updated(operations, bodies, destination.identifiers) if source in trust.trusted else (),
        is_shadow,
        False,  # late
        False,  # changes_identifiers
        True,  # redirects
        None,  # error
    )
    return tuple.__new__(Prepared, values)


def _updated(
    operations: Sequence[mapping.Operation], bodies: Sequence[JsonObject], scheme: IdentifierScheme
) -> tuple[str, ...]:
    """Return the keys of the people that the operations update."""
    keys = [
        identity_memory.key_of(body.get("identifiers", {}), scheme)
        for operation, body in zip(operations, bodies, strict=True)
        if operation.effect == "update"
    ]
    return tuple(key for key in keys if key)


def _without_items(event: lanes.ClaimedEvent) -> Prepared:
    return Prepared(
        event=event,
        items=(),
        people=(),
        update=None,
        failures=(),
        timestamp=None,
        accepted_at_ms=event.accepted_at_ms,
        privacy_request=None,
        source="",
        message_id="",
    )


def _addressed(prepared: Prepared, identities: Identities, rising: bool) -> Prepared:
    """Return the event with its items rewritten for what is remembered of its people."""
    if prepared.event.sequence in identities.changing:
        prepared = prepared._replace(changes_identifiers=True)
    if not (prepared.update or identities.have_changed(prepared.people)):
        return prepared
    items, late, sequence = [], False, prepared.event.sequence
    time_s = identities.times_s.get(sequence) if rising else None
    happened_at_ms = prepared.happened_at_ms if identities.deleted_ms else 0
    is_conflict = sequence in identities.conflicts
    kept, owners = iter(identities.kept.get(sequence, b"")), iter(identities.owners.get(sequence, ()))
    described = iter(prepared.update.described if prepared.update else ())
    for item in prepared.items:
        body = orjson.loads(item.data)
        newest = body
        if attribute_clocks.has_clocks(item.effect, body):
            owner, at_ms = next(owners, b""), attribute_clocks.time_in(next(described))
            if item.effect == "update":
                item = item._replace(person=owner, at_ms=at_ms)
            if sequence in identities.kept:
                newest = attribute_clocks.without_stale(body, kept)
        sent = wire.addressed(item.effect, newest, identities, happened_at_ms, time_s)
        if sent is None:
            late = late or item.effect != "merge"
        else:
            if is_conflict or identities.deleted_ms:
                why = unapplied.reason(item.effect, sent, identities, is_conflict=is_conflict)
                item = item._replace(unapplied=why)
            items.append(item if sent is body else item._replace(data=json_of(sent)))
    if not items and prepared.items:
        prepared = prepared._replace(counted_as=fates.nothing_left(prepared.source, late=late))
    return prepared._replace(items=tuple(items), late=late)


def _update(
    event: lanes.ClaimedEvent,
    operations: Sequence[mapping.Operation],
    bodies: Sequence[JsonObject],
    timestamp: Any,
    accepted_at_ms: int,
    scheme: IdentifierScheme,
    *,
    is_recorded: bool,
) -> Update:
    """Return the event's updates of people and objects as one.

    A merge counts as an update of both people: the primary inherits the attributes of the secondary with their times.
    A recorded request has the time at which it was sent before; its attributes have that of the event. An event that
    updates an object alone is registered under the key of the object, without a time: it changes no times of people.
    """
    effects = [operation.effect for operation in operations]
    at_ms = attribute_clocks.client_time_ms(timestamp, accepted_at_ms)
    times, described, objects, updates_only = [], [], [], False
    partners: list[bytes] = []
    for effect, body in zip(effects, bodies, strict=True):
        if effect == "merge":
            times.append(0)
        elif effect == "update":
            named = identifier_changes.identifiers(body, scheme)
            times.append(attribute_clocks.mapped_time_s(body))
            partners += identifier_changes.partners(named, event.keys)
            updates_only = updates_only or identifier_changes.updates_only(body)
            if attribute_clocks.has_clocks(effect, body):
                own_ms = at_ms if is_recorded else attribute_clocks.time_of(body, at_ms, accepted_at_ms)
                described.append(attribute_clocks.described(body, named, event.keys, own_ms))
        elif effect == "object" and (key := attribute_clocks.object_key(body)):
            objects.append(digest(key))
            described.append(attribute_clocks.described_object(body, at_ms))
    return Update(
        sequence=event.sequence,
        time_s=max(times, default=0),
        latest_s=accepted_at_ms // 1000,
        keys=event.keys if times else tuple(dict.fromkeys(objects)),
        partners=tuple(partners),
        updates_only=updates_only,
        merges="merge" in effects,
        only_merges="merge" in effects and "update" not in effects,
        described=tuple(described),
    )


def _recorded(request: JsonObject, destination: mapping.Destination) -> mapping.Operation:
    """Return the operation of a recorded request, see `dead_letters.record`."""
    indexes = (
        subscription.index for subscription in destination.subscriptions if subscription.name == request["subscription"]
    )
    return mapping.Operation(
        subscription=next(indexes, -1),
        action=request["action"],
        effect=mapping.effect_of(request["action"]),
        path=request["path"],
        body=request["request"],
        payload=request.get("payload"),
    )
