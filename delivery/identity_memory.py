"""What the workers of a destination remember of identities: merged and deleted people, and which identifiers belong
together. Also when each person was last updated, and which attributes were sent when.

So a late event of a merged person goes to the primary, and a late event recreates no deleted person. An update never
looks older than the one sent before it, and a late update overwrites no newer attribute. An update that changes
identifiers is distinguished from one that repeats them.

Merges and deletions are remembered for `remember_days` of the destination, up to twice that; the rest for two hours.
The time of an update is at most an hour ahead of now. So no update of the last hour looks older than one that was
forgotten. An older update is history: it keeps its own time, unless it is known to be newer than what was sent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

import orjson

from delivery import attribute_clocks
from delivery.scripts import run
from lanes import Queue, digest, keys
from logs import events as log
from mapping import Effect
from mapping.envelope import JsonObject
from mapping.ordering_keys import IdentifierScheme, email_key

Identifiers = Mapping[str, Any]  # such as {"id": "42"}, as in the body of an operation

_MEMBERS = ("identifiers", "primary", "secondary")
_KINDS = frozenset({"id", "email", "cio_id"})
TIMES_KEPT_S: Final = keys.TIMES_KEPT_S
_CREATES, _UPDATES, _MERGES = "c", "u", "m"  # one byte each
_TRUSTED, _NOT_TRUSTED = b"t", b"-"
_PAGE = 1000


class Update(NamedTuple):
    """The updates of people and objects by one event, which are about to be sent."""

    sequence: int  # of the event
    time_s: int  # the latest time they were mapped to
    latest_s: int  # when the event was accepted: a clock that is ahead is not believed
    keys: tuple[bytes, ...]  # digests of the event's ordering keys
    partners: tuple[bytes, ...] = ()  # see `delivery.identifier_changes.partners`
    updates_only: bool = False  # has no effect on a person that does not exist
    merges: bool = False  # one of them at least is a merge
    only_merges: bool = False
    described: tuple[bytes, ...] = ()  # each with its attributes, see `delivery.attribute_clocks.described`


@dataclass(frozen=True, slots=True)
class Identities:
    """What is remembered of the people of some operations. `scheme`: what identifies people at the destination."""

    scheme: IdentifierScheme
    merged: dict[str, JsonObject] = field(default_factory=dict)  # person's key → identifiers of the primary
    deleted_ms: dict[str, int] = field(default_factory=dict)  # person's key → time of the deletion
    times_s: dict[int, int] = field(default_factory=dict)  # event's sequence → time of its updates
    changing: frozenset[int] = frozenset()  # events that change identifiers and have no cooldown yet
    # Event's sequence → a byte for each attribute, `1` when it is to be sent; events that send all of them have none.
    kept: dict[int, bytes] = field(default_factory=dict)
    # Event's sequence → digest of each person and object that it updates, under which recent attributes are remembered.
    owners: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    unbounded: frozenset[bytes] = frozenset()  # digests of identifiers that changed too often for a cooldown
    known: frozenset[str] = frozenset()  # keys of people that were updated before; only where there is a merge
    conflicts: frozenset[int] = frozenset()  # events that give a person an address that belongs to another one

    def __bool__(self) -> bool:
        return bool(self.merged or self.deleted_ms or self.times_s or self.changing or self.conflicts)

    def have_changed(self, people: Iterable[str]) -> bool:
        """Whether the person of any of these keys was merged or deleted."""
        return not (self.merged.keys().isdisjoint(people) and self.deleted_ms.keys().isdisjoint(people))

    def key_of(self, identifiers: Identifiers) -> str | None:
        """Return the key of the person that these name, as the function does."""
        return key_of(identifiers, self.scheme)

    def current(self, identifiers: Identifiers) -> Identifiers:
        """Return the identifiers of the person that these name now."""
        return self.merged.get(self.key_of(identifiers) or "", identifiers)


def key_of(identifiers: Identifiers, scheme: IdentifierScheme) -> str | None:
    """Return the key of the person that a body's identifiers name; None for a visitor, an object or no identifier.

    Where e-mail is no identifier, Customer.io takes an address as an id.
    """
    for kind, value in identifiers.items():
        if kind in _KINDS and type(value) is str:
            return (email_key(value, scheme) or f"id:{value}") if kind == "email" else f"{kind}:{value}"
    return None


def named_in(body: JsonObject, scheme: IdentifierScheme) -> list[str]:
    """Return the key of every person that the body of an operation names, also in its relationships."""
    found = []
    for member in _MEMBERS:
        if member in body and type(identifiers := body[member]) is dict and (key := key_of(identifiers, scheme)):
            found.append(key)
    if "cio_relationships" in body and type(relationships := body["cio_relationships"]) is list:
        for related in relationships:
            found += named_in(related, scheme) if type(related) is dict else ()
    return found


def register(
    queue: Queue,
    named: Iterable[str],
    updates: Sequence[Update],
    scheme: IdentifierScheme,
    trusted: Collection[str] = (),
) -> Identities:
    """Record the updates, which are about to be sent, and return what is remembered of the people of these keys; one
    round trip. An update of the people `trusted` (keys) ends a merge of such a person that no trusted source made.

    Each update gets its time, and of its attributes those are chosen that are to be sent. An event that was registered
    before keeps both. In a queue with a cooldown, an event that changes identifiers and has no cooldown yet is returned
    in `changing`, and is not recorded. It has no time, nor have the events that follow it.
    """
    people = list(dict.fromkeys(named))
    if not people and not updates:
        return Identities(scheme)
    arguments: list[str | bytes | int] = [
        queue.join_s * 1000,
        int(queue.cooldown_ms > 0),
        queue.most_fan_in,
        b"".join(map(digest, people)),
        "".join("1" if person in trusted else "0" for person in people) if trusted else "",
    ]
    for update in updates:
        mode = _MERGES if update.only_merges else _UPDATES if update.updates_only else _CREATES
        arguments += (update.sequence, update.time_s, update.latest_s, mode, len(update.keys), *update.keys)
        arguments += (len(update.partners) // 2, *update.partners, len(update.described), *update.described)
    merged, deleted, times, changing, kept, owners, unbounded, new_unbounded, known, conflicts = run(
        queue, "register", *arguments
    )
    if new_unbounded:
        log.IDENTIFIERS_UNBOUNDED.write(destination=queue.name, limit=queue.most_fan_in, count=new_unbounded)
    sequences = [update.sequence for update in updates]
    return Identities(
        scheme,
        {person: orjson.loads(primary) for person, primary in zip(people, merged, strict=False) if primary},
        {person: int(at_ms) for person, at_ms in zip(people, deleted, strict=False) if at_ms},
        {sequence: time_s for sequence, time_s in zip(sequences, times, strict=True) if time_s},
        frozenset(map(int, changing)),
        {sequence: mask for sequence, mask in zip(sequences, kept, strict=True) if mask},
        {sequence: _digests(found) for sequence, found in zip(sequences, owners, strict=True) if found},
        frozenset(unbounded),
        _known(people, known) if any(update.merges for update in updates) else frozenset(),
        frozenset(map(int, conflicts)),
    )


def _known(people: Sequence[str], flags: bytes) -> frozenset[str]:
    return frozenset(person for person, flag in zip(people, flags, strict=True) if flag == ord("1"))


def _digests(joined: bytes) -> tuple[bytes, ...]:
    return tuple(joined[at : at + keys.DIGEST_BYTES] for at in range(0, len(joined), keys.DIGEST_BYTES))


class Change(NamedTuple):
    """A delivered operation that changes identities."""

    effect: Effect
    body: JsonObject
    happened_at_ms: int  # Unix ms
    is_trusted: bool = False  # whether its source is


def remember(queue: Queue, delivered: Sequence[Change], scheme: IdentifierScheme) -> None:
    """Store what the delivered operations changed of identities."""
    arguments: list[str | bytes | int] = []
    for change in delivered:
        arguments += _arguments(change, scheme)
    if arguments:
        run(queue, "remember_identities", queue.join_s * 1000, *arguments)


def _arguments(change: Change, scheme: IdentifierScheme) -> tuple[str | bytes | int, ...]:
    effect, body, happened_at_ms, is_trusted = change
    if effect == "merge":
        primary, secondary = key_of(body["primary"], scheme), key_of(body["secondary"], scheme)
        if primary and secondary:
            value = digest(primary) + (_TRUSTED if is_trusted else _NOT_TRUSTED) + orjson.dumps(body["primary"])
            return ("merged", digest(secondary), value, attribute_clocks.stored_time(happened_at_ms))
    person = key_of(body.get("identifiers", {}), scheme)
    if person and effect in ("delete", "suppress"):
        return ("deleted", digest(person), happened_at_ms, "")
    if person and effect == "unsuppress":
        return ("back", digest(person), "", "")
    return ()


def primary_in(stored: bytes) -> JsonObject:
    """Return the identifiers of the primary in a value of `merged`."""
    primary: JsonObject = orjson.loads(stored[keys.DIGEST_BYTES + len(_TRUSTED) :])
    return primary


def erase_addresses(queue: Queue, clocks: Iterable[bytes], owners: Collection[bytes]) -> int:
    """Remove the addresses of these people (digests) from the hashes of attribute clocks; return how many there were.

    What is stored of an address is the digest of its person.
    """
    erased = 0
    for name in clocks:
        found = queue.client.hscan_iter(name, count=_PAGE)
        addresses = [address for address, owner in found if owner in owners]
        erased += int(queue.client.hdel(name, *addresses)) if addresses else 0
    return erased


def clocks_of(queue: Queue, digests: Collection[bytes]) -> dict[bytes, dict[bytes, int]]:
    """Return the attribute clocks of people by digest, as `attribute_clocks.read_clocks` does; of an address those of
    its person."""
    stored = _clocks_stored(queue, digests)
    owners = {digest: value for digest, value in stored.items() if len(value) == keys.DIGEST_BYTES}
    stored |= _clocks_stored(queue, set(owners.values()) - stored.keys())
    return {digest: attribute_clocks.read_clocks(stored.get(owners.get(digest, digest), b"")) for digest in stored}


def _clocks_stored(queue: Queue, digests: Collection[bytes]) -> dict[bytes, bytes]:
    current, older = _remembered(queue, keys.ATTRIBUTE_CLOCKS, TIMES_KEPT_S, list(digests))
    return older | current


def deletions_ms(queue: Queue, keys_of_events: Sequence[Sequence[bytes]]) -> list[int]:
    """Return for each event when one of its people was deleted last (Unix ms), as far as it is remembered; else 0. An
    event is the digests of its ordering keys."""
    digests = list(dict.fromkeys(person for event in keys_of_events for person in event))
    times: dict[bytes, int] = {}
    for values in _remembered(queue, keys.DELETED, queue.join_s, digests):
        for person, value in values.items():
            times[person] = max(times.get(person, 0), int(value[: keys.TIME_DIGITS]))
    return [max((times.get(person, 0) for person in event), default=0) for event in keys_of_events]


def _remembered(
    queue: Queue, key: keys.Key, generation_s: int, digests: list[bytes]
) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """Return what is stored of these digests, of the current generation and of the one before."""
    generation = int(queue.client.time()[0]) // generation_s
    found = [
        cast(list[bytes | None], queue.client.hmget(key.of(queue.name, number), digests)) if digests else []
        for number in (generation, generation - 1)
    ]
    current, older = (
        {digest: value for digest, value in zip(digests, values, strict=True) if value is not None} for values in found
    )
    return current, older
