"""People as what was sent until a moment makes them, by the documented rules of Customer.io's Track API.

Only what Segue sent is known: another writer to the workspace, and what was sent before the records begin, are not in
it. So a person that is named, for example as the primary of a merge, is taken to exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import lanes
from mapping.envelope import JsonObject

_KINDS: Final = ("id", "email", "cio_id", "anonymous_id")
_NAMES_A_PERSON: Final = ("id", "email")  # attributes that are identifiers
_NOT_KEPT: Final = frozenset({"_update", "_timestamp", "anonymous_id"})
_EVENTS: Final = frozenset({"event", "page", "screen"})


class Sent(NamedTuple):
    """An item that Customer.io accepted."""

    sequence: int  # of the event
    message_id: str  # SOURCE:MESSAGE ID
    sent_ms: int
    body: JsonObject  # as sent
    unapplied: str | None = None  # a key of `delivery.unapplied.REASONS`


class Origin(NamedTuple):
    """The event by which something was sent."""

    sequence: int
    message_id: str
    sent_ms: int


class Attribute(NamedTuple):
    """The value of an attribute or of a device."""

    value: Any
    origin: Origin


class Occurrence(NamedTuple):
    """An event, a page view or a screen view."""

    kind: str
    name: str
    at_s: float  # Unix time
    origin: Origin


class Merge(NamedTuple):
    """Another person became part of this one."""

    key: str  # by which it was named
    origin: Origin


@dataclass(slots=True)
class Person:
    """A person. Keys are ordering keys, such as `id:42`."""

    since: Origin  # by which it is known
    keys: dict[str, None] = field(default_factory=dict)
    attributes: dict[str, Attribute] = field(default_factory=dict)
    devices: dict[str, Attribute] = field(default_factory=dict)  # by token
    events: list[Occurrence] = field(default_factory=list)
    merges: list[Merge] = field(default_factory=list)
    times_s: dict[str, float] = field(default_factory=dict)  # by attribute: of the update that set or removed it


@dataclass(frozen=True, slots=True)
class Ended:
    """A person that was deleted, suppressed or merged into another one."""

    how: str  # deleted, suppressed, merged
    origin: Origin
    keys: tuple[str, ...]
    into: str | None = None  # the key of the primary


def people_at(sent: Iterable[Sent], at_ms: int) -> World:
    """Return the people that what was sent until a moment makes."""
    world = World()
    for item in sorted(
        (item for item in sent if item.sent_ms <= at_ms), key=lambda item: (item.sent_ms, item.sequence)
    ):
        world.apply(item)
    return world


class World:
    """The people of a workspace, as far as Segue sent them."""

    def __init__(self) -> None:
        self._people: dict[str, Person] = {}
        self._ended: dict[str, Ended] = {}
        self._suppressed: set[str] = set()
        self._event_ids: set[str] = set()

    def find(self, digest: str) -> Person | Ended | None:
        """Return the person whose ordering key has this digest."""
        return next(
            (found for known in (self._people, self._ended) for key, found in known.items() if _digest(key) == digest),
            None,
        )

    def related(self, digest: str) -> frozenset[str]:
        """Return the digests of all keys of this person, and of those that were merged with it."""
        found = self.find(digest)
        if found is None:
            return frozenset()
        keys = [*found.keys, *([found.into] if isinstance(found, Ended) and found.into else ())]
        keys += [merge.key for merge in found.merges] if isinstance(found, Person) else ()
        return frozenset(map(_digest, keys))

    def apply(self, sent: Sent) -> None:
        """Apply an item. One that names no person changes none."""
        if sent.body.get("type") != "person" or sent.unapplied == "cio_id_deleted":
            return
        action, key = str(sent.body.get("action")), _key(sent.body.get("identifiers"))
        if action == "merge":
            self._merge(_key(sent.body.get("primary")), _key(sent.body.get("secondary")), _origin(sent))
        elif key is not None and action == "unsuppress":
            self._suppressed -= {key, *(self._ended[key].keys if key in self._ended else ())}
        elif key is not None and action in ("delete", "suppress"):
            self._end(key, action, _origin(sent))
        elif key is not None and key not in self._suppressed:
            self._change(action, key, sent)

    def _change(self, action: str, key: str, sent: Sent) -> None:
        if action == "identify":
            self._identify(key, sent)
        elif action in _EVENTS:
            self._add_event(key, action, sent)
        elif action in ("add_device", "delete_device"):
            self._device(key, action, sent)

    def _named(self, key: str, origin: Origin) -> Person:
        """Return the person with this key; a new one where there is none."""
        if key not in self._people:
            self._ended.pop(key, None)
            self._people[key] = Person(origin, {key: None})
        return self._people[key]

    def _identify(self, key: str, sent: Sent) -> None:
        attributes: JsonObject = sent.body.get("attributes") or {}
        names = {kind: named for kind in _NAMES_A_PERSON if (named := _key({kind: attributes.get(kind)}))}
        if sent.unapplied == "address_conflict":
            names.pop("email", None)
        if key not in self._people:  # a person that has another of the identifiers gets this one
            known = next((self._people[other] for other in names.values() if other in self._people), None)
            if known is not None and not _has_kind(known, key.partition(":")[0]):
                self._give(known, key)
        person = self._named(key, _origin(sent))
        refused = {kind for kind, other in names.items() if not self._named_also(person, other, key, _origin(sent))}
        if sent.unapplied == "address_conflict":
            refused.add("email")
        self._claim_anonymous(person, attributes.get("anonymous_id"))
        _set(person, {name: value for name, value in attributes.items() if name not in refused}, sent)

    def _named_also(self, person: Person, key: str, by: str, origin: Origin) -> bool:
        """Give a person another identifier, and return whether the person has it then. One that belongs to another
        person makes one of both, if neither has an identifier of the kind by which the other is known."""
        other, kind = self._people.get(key), key.partition(":")[0]
        if other is person:
            return True
        if other is not None:
            is_apart = _has_kind(person, kind) or any(_has_kind(other, each.partition(":")[0]) for each in person.keys)
            if is_apart:
                return False
            self._absorb(person, other, Merge(key, origin))
            for each in other.keys:
                self._give(person, each)
        elif _has_kind(person, kind):
            if kind == "id" and not by.startswith("cio_id:"):
                return False  # an id that is set is changed by cio_id only
            self._take(person, kind)
        self._give(person, key)
        return True

    def _give(self, person: Person, key: str) -> None:
        person.keys[key] = None
        self._people[key] = person
        self._ended.pop(key, None)

    def _take(self, person: Person, kind: str) -> None:
        for key in [each for each in person.keys if each.startswith(f"{kind}:")]:
            del person.keys[key], self._people[key]

    def _claim_anonymous(self, person: Person, anonymous_id: Any) -> None:
        """Add what an anonymous visitor did to the person that has the visitor's id now."""
        key = _key({"anonymous_id": anonymous_id})
        visitor = self._people.get(key) if key else None
        if key and (visitor is None or set(visitor.keys) == {key}):
            if visitor is not None and visitor is not person:
                person.events = sorted(person.events + visitor.events, key=lambda each: each.at_s)
            self._give(person, key)

    def _add_event(self, key: str, kind: str, sent: Sent) -> None:
        person, event_id = self._named(key, _origin(sent)), str(sent.body.get("id") or "")
        if event_id in self._event_ids:
            return
        self._event_ids |= {event_id} - {""}
        name = str(sent.body.get("name") or "")
        person.events.append(Occurrence(kind, name, _time_s(sent), _origin(sent)))
        person.events.sort(key=lambda each: each.at_s)

    def _device(self, key: str, action: str, sent: Sent) -> None:
        device = sent.body.get("device") or {}
        token = str(device.get("token") or "")
        person = self._named(key, _origin(sent))
        if action == "delete_device":
            person.devices.pop(token, None)
            return
        for other in self._people.values():
            other.devices.pop(token, None)  # a token belongs to one person
        person.devices[token] = Attribute(
            {name: each for name, each in device.items() if name != "token"}, _origin(sent)
        )

    def _end(self, key: str, action: str, origin: Origin) -> None:
        person = self._people.get(key)
        ended = Ended({"delete": "deleted"}.get(action, "suppressed"), origin, tuple(person.keys) if person else (key,))
        for each in ended.keys:
            self._people.pop(each, None)
            self._ended[each] = ended
        if action == "suppress":
            self._suppressed.update(ended.keys)

    def _merge(self, primary: str | None, secondary: str | None, origin: Origin) -> None:
        if primary is None or secondary is None or primary in self._suppressed:
            return
        person, other = self._named(primary, origin), self._named(secondary, origin)
        if person is other:
            return
        keys = tuple(other.keys)
        self._absorb(person, other, Merge(secondary, origin))
        for key in keys:
            self._people.pop(key, None)
            self._ended[key] = Ended("merged", origin, keys, primary)

    def _absorb(self, person: Person, other: Person, merge: Merge) -> None:
        """Add to a person what only the other one has."""
        for name, attribute in other.attributes.items():
            if name not in person.attributes and name not in _NAMES_A_PERSON:
                person.attributes[name] = attribute
                person.times_s[name] = other.times_s[name]
        person.devices = other.devices | person.devices
        person.events = sorted(person.events + other.events, key=lambda each: each.at_s)
        person.merges += [*other.merges, merge]


def _set(person: Person, attributes: JsonObject, sent: Sent) -> None:
    """Set attributes. Null and the empty text remove one; an older update changes no newer value."""
    time_s = _time_s(sent)
    for name, value in attributes.items():
        if name in _NOT_KEPT or person.times_s.get(name, time_s) > time_s:
            continue
        person.times_s[name] = time_s
        if value is None or value == "":
            person.attributes.pop(name, None)
        else:
            person.attributes[name] = Attribute(value, _origin(sent))


def _has_kind(person: Person, kind: str) -> bool:
    return any(key.startswith(f"{kind}:") for key in person.keys)


def _key(identifiers: Any) -> str | None:
    """Return the ordering key of identifiers in a body."""
    for kind in _KINDS:
        value = identifiers.get(kind) if isinstance(identifiers, dict) else None
        if isinstance(value, str | int) and value != "":
            return f"{kind}:{str(value).lower() if kind == 'email' else value}"
    return None


def _digest(key: str) -> str:
    return lanes.digest(key).hex()


def _origin(sent: Sent) -> Origin:
    return Origin(sent.sequence, sent.message_id, sent.sent_ms)


def _time_s(sent: Sent) -> float:
    timestamp = sent.body.get("timestamp")
    return float(timestamp) if isinstance(timestamp, int | float) else sent.sent_ms / 1000
