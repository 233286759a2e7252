"""What a destination's workers remember of people: who was merged into whom, who was deleted, when each was last
updated, and which names belong together. With it, what comes late goes to the person who remains, recreates nobody, and
never looks older than what was sent before it; and what changes names is told from what says again who is who.

Merges and deletions are remembered for the days that the destination says (and up to twice that), the rest for two
hours. Times run an hour ahead at most, and none is longer ago than an hour, so that an update cannot look older than
one that is forgotten either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import orjson

from delivery.scripts import run
from lanes import Queue, digest, keys
from mapping import Effect
from mapping.envelope import JsonObject

Who = Mapping[str, Any]

_NAMING = ("identifiers", "primary", "secondary")
_KINDS = frozenset({"id", "email", "cio_id"})
TIMES_KEPT_S = 7200  # as look_up.lua has it
_CREATES, _UPDATES = "c", "u"  # one byte each


class Update(NamedTuple):
    """An identify about to be sent: its event, the time it was mapped to, the event's lanes, and its names."""

    sequence: int
    time_s: int
    latest_s: int  # when the event was accepted: a clock that is ahead is not believed
    lanes: tuple[bytes, ...]
    names: tuple[bytes, ...] = ()  # see `delivery.identifier_changes.given`
    updates_only: bool = False  # it makes nobody who is not there


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of the people of some operations."""

    merged: dict[str, JsonObject] = field(default_factory=dict)  # person's key → identifiers of who remains
    deleted_ms: dict[str, int] = field(default_factory=dict)  # person's key → time of the deletion
    times_s: dict[int, int] = field(default_factory=dict)  # event's sequence → time of its identifies
    changing: frozenset[int] = frozenset()  # events that change names, and have to keep a distance not kept yet

    def __bool__(self) -> bool:
        return bool(self.merged or self.deleted_ms or self.times_s or self.changing)

    def have_moved(self, people: Iterable[str]) -> bool:
        """Whether the person of any of these keys is somebody else or nobody now."""
        return not (self.merged.keys().isdisjoint(people) and self.deleted_ms.keys().isdisjoint(people))

    def who(self, identifiers: Who) -> Who:
        """Return the identifiers of the person who these have become."""
        return self.merged.get(key_of(identifiers) or "", identifiers)


def key_of(identifiers: Who) -> str | None:
    """Return the key of the person that a body's identifiers name; None for a visitor, an object or nobody."""
    for kind, value in identifiers.items():
        if kind in _KINDS and type(value) is str:
            return f"{kind}:{value.lower() if kind == 'email' else value}"
    return None


def named_in(body: JsonObject) -> list[str]:
    """Return the key of every person whom the body of an operation names."""
    found = []
    for member in _NAMING:
        who = body.get(member)
        if isinstance(who, dict) and (key := key_of(who)):
            found.append(key)
    relationships = body.get("cio_relationships")
    if isinstance(relationships, list):
        for related in relationships:
            found += named_in(related) if isinstance(related, dict) else ()
    return found


def look_up(
    queue: Queue,
    named: Iterable[str],
    updates: Sequence[Update],
) -> Known:
    """Return what is known of the people of these keys, and give each update its time; one round trip.

    In a queue with a cooldown, an update that changes identifiers and has no cooldown yet is returned in `changing`; it
    gets no time, nor do its successors.
    """
    people = list(dict.fromkeys(named))
    if not people and not updates:
        return Known()
    arguments: list[str | bytes | int] = [
        queue.join_s * 1000,
        int(queue.cooldown_ms > 0),
        b"".join(map(digest, people)),
    ]
    for update in updates:
        mode = _UPDATES if update.updates_only else _CREATES
        arguments += (update.sequence, update.time_s, update.latest_s, mode, len(update.lanes), *update.lanes)
        arguments += (len(update.names) // 2, *update.names)
    merged, deleted, times, changing = run(queue.client, "look_up", queue.base, *arguments)
    return Known(
        {person: orjson.loads(into) for person, into in zip(people, merged, strict=False) if into},
        {person: int(at) for person, at in zip(people, deleted, strict=False) if at},
        {update.sequence: time_s for update, time_s in zip(updates, times, strict=True) if time_s},
        frozenset(map(int, changing)),
    )


def remember(queue: Queue, sent: Sequence[tuple[Effect, JsonObject, int]]) -> None:
    """Keep what the delivered operations did to identities; `sent`: effects, bodies and when each happened, ms."""
    arguments: list[str | bytes | int] = []
    for effect, body, happened_at_ms in sent:
        arguments += _change(effect, body, happened_at_ms)
    if arguments:
        run(queue.client, "remember", queue.base, queue.join_s * 1000, *arguments)


def _change(effect: Effect, body: JsonObject, happened_at_ms: int) -> tuple[str | bytes | int, ...]:
    if effect == "merge":
        primary, secondary = key_of(body["primary"]), key_of(body["secondary"])
        if primary and secondary:
            return ("merged", digest(secondary), digest(primary) + orjson.dumps(body["primary"]))
    person = key_of(body.get("identifiers", {}))
    if person and effect in ("delete", "suppress"):
        return ("deleted", digest(person), happened_at_ms)
    if person and effect == "unsuppress":
        return ("back", digest(person), "")
    return ()


def last_updates_s(queue: Queue, lanes_of_events: Sequence[Sequence[bytes]]) -> list[int]:
    """Return for each event the time of the last update that was sent for any of its lanes, as far as it is remembered;
    else 0."""
    digests = list(dict.fromkeys(digest for lanes_of_event in lanes_of_events for digest in lanes_of_event))
    if not digests:
        return [0] * len(lanes_of_events)
    generation = int(queue.client.time()[0]) // TIMES_KEPT_S
    times: dict[bytes, int] = {}
    for number in (generation, generation - 1):
        found = cast(list[bytes | None], queue.client.hmget(keys.IDENTIFIED.of(queue.name, number), digests))
        for lane, value in zip(digests, found, strict=True):
            if value is not None:
                times[lane] = max(times.get(lane, 0), int(value[:10]))
    return [max((times.get(lane, 0) for lane in lanes_of_event), default=0) for lanes_of_event in lanes_of_events]
