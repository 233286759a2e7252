"""The people that must exist after a story: its events applied one by one, each completely before the next.

It follows what Segment and Customer.io say about the events (Track API reference, sections 8 and 9), and shares nothing
with the code that it judges. Three rules are Segue's own: an event of a merged person is an event of the primary, an
event from before a deletion that arrives after it has no effect, and an update that arrives late changes no attribute
that a newer one has set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from tests.stories.generator import CIO_OF, LEAP_S, Event

FIVE_MINUTES_S = 300


class Identifier(NamedTuple):
    """An identifier: kind (`id`, `email`, `cio_id`) and value."""

    kind: str
    value: str


@dataclass(eq=False)
class Person:
    """A person; `identifiers` by kind, deeds in no particular order."""

    born: int
    identifiers: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    times: dict[str, datetime] = field(default_factory=dict)  # when each attribute was set, or removed
    deeds: list[str] = field(default_factory=list)


@dataclass
class Visitor:
    deeds: list[str] = field(default_factory=list)
    claimed_by: Person | None = None
    claimed_at: int = 0


class World:
    """The people of one story. `reassign`: a new id for an address that has another id replaces it."""

    def __init__(self, *, reassign: bool) -> None:
        self.reassign = reassign
        self.people: list[Person] = []
        self.visitors: dict[str, Visitor] = {}
        self.suppressed: dict[Identifier, set[Identifier]] = {}
        self.became: dict[Identifier, Identifier] = {}
        self.deleted: dict[Identifier, datetime] = {}
        self.by_cio_id: dict[str, Person] = {}
        self.now_s = 0
        self.born = 0

    def apply_all(self, phases: Sequence[Sequence[Event]]) -> None:
        """Apply the events; phases are LEAP_S apart."""
        for number, events in enumerate(phases):
            self.now_s = number * LEAP_S
            wanted = {event["userId"] for event in events if str(event.get("userId", "")).startswith(CIO_OF)}
            for identifier in wanted:
                found = self.find(Identifier("id", identifier.removeprefix(CIO_OF)))
                assert found is not None
                self.by_cio_id[identifier] = found
            for event in events:
                self.apply(event)

    def apply(self, event: Event) -> None:
        match event["type"], event.get("event"):
            case "identify", _:
                self.identify(event)
            case "alias", _:
                self.merge(
                    self.current(identifier_of(event["userId"])), self.current(identifier_of(event["previousId"]))
                )
            case "track", "User Deleted":
                self.delete(event)
            case "track", "User Suppressed":
                self.suppress(event)
            case "track", "User Unsuppressed":
                self.unsuppress(event)
            case _:
                self.act(event)

    # Identifiers

    def current(self, identifier: Identifier) -> Identifier:
        """Return the identifier of the primary after all merges."""
        while identifier in self.became:
            identifier = self.became[identifier]
        return identifier

    def find(self, identifier: Identifier) -> Person | None:
        if identifier.kind == "cio_id":
            person = self.by_cio_id.get(identifier.value)
            return person if person in self.people else None
        return next(
            (person for person in self.people if person.identifiers.get(identifier.kind) == identifier.value), None
        )

    def is_late(self, event: Event, *identifiers: Identifier) -> bool:
        happened_at = datetime.fromisoformat(event["timestamp"])
        return any(identifier in self.deleted and happened_at < self.deleted[identifier] for identifier in identifiers)

    def create(self, identifier: Identifier) -> Person:
        self.born += 1
        self.people.append(Person(self.born, {identifier.kind: identifier.value}))
        return self.people[-1]

    # Events

    def identify(self, event: Event) -> None:
        traits = dict(event["traits"])
        given = identifier_of(event.get("userId") or traits["email"])
        identifier = self.current(given)
        if self.is_late(event, given, identifier) or identifier in self.suppressed:
            return
        wanted = [Identifier(kind, traits.pop(kind)) for kind in ("id", "email") if kind in traits]
        wanted = [Identifier(kind, value.lower() if kind == "email" else value) for kind, value in wanted]
        person = self.identified(identifier, [other for other in wanted if other.kind != identifier.kind], traits)
        if person is None:
            return
        happened_at = datetime.fromisoformat(event["timestamp"])
        for attribute, value in traits.items():
            if happened_at < person.times.setdefault(attribute, happened_at):
                continue
            person.times[attribute] = happened_at
            if value is None:
                person.attributes.pop(attribute, None)
            elif attribute != "_update":
                person.attributes[attribute] = value
        if "anonymousId" in event:
            self.claim(event["anonymousId"], person)

    def identified(self, identifier: Identifier, others: list[Identifier], traits: Event) -> Person | None:
        """The rows of table 8.2."""
        person = self.find(identifier)
        if person is None:
            if identifier.kind == "cio_id":
                return None  # 12
            person = next((found for other in others if (found := self.find(other))), None)
            if person is not None:
                if identifier.kind not in person.identifiers or self.reassign:  # 3, 4
                    person.identifiers[identifier.kind] = identifier.value
            elif traits.get("_update"):
                return None  # 13
            else:
                person = self.create(identifier)  # 1
        for other in others:
            person = self.with_identifier(person, identifier, other)
        return person

    def with_identifier(self, person: Person, by: Identifier, other: Identifier) -> Person:
        owner = self.find(other)
        if owner is person or other in self.suppressed:
            return person
        if owner is None:
            may_change = by.kind == "cio_id" or (by.kind, other.kind) == ("id", "email")
            if other.kind not in person.identifiers or may_change:  # 5, 6, 9, 11; else 10
                person.identifiers[other.kind] = other.value
            return person
        if by.kind == "cio_id" or other.kind in person.identifiers or by.kind in owner.identifiers:
            return person  # 7
        older, younger = sorted((person, owner), key=lambda each: each.born)  # 8
        identifiers = person.identifiers | owner.identifiers
        self.unite(older, younger)
        older.identifiers = identifiers
        return older

    def act(self, event: Event) -> None:
        deed = event["properties"]["deed"]
        if "userId" not in event:
            visitor = self.visitors.setdefault(event["anonymousId"], Visitor())
            if visitor.claimed_by is None:
                visitor.deeds.append(deed)
            elif self.now_s <= visitor.claimed_at + FIVE_MINUTES_S:
                visitor.claimed_by.deeds.append(deed)
            return
        given = identifier_of(event["userId"])
        identifier = self.current(given)
        if self.is_late(event, given, identifier) or identifier in self.suppressed:
            return
        (self.find(identifier) or self.create(identifier)).deeds.append(deed)

    def claim(self, anonymous_id: str, person: Person) -> None:
        visitor = self.visitors.setdefault(anonymous_id, Visitor())
        if visitor.claimed_by is None:
            visitor.claimed_by, visitor.claimed_at = person, self.now_s
            person.deeds += visitor.deeds

    def merge(self, remaining: Identifier, merged: Identifier) -> None:
        if remaining == merged:
            return
        primary, secondary = self.find(remaining), self.find(merged)
        assert primary is not None, "no story merges into a person that does not exist"
        if secondary is not None:
            self.unite(primary, secondary)
        self.became[merged] = remaining

    def unite(self, primary: Person, secondary: Person) -> None:
        self.people.remove(secondary)
        primary.attributes = secondary.attributes | primary.attributes
        primary.times = secondary.times | primary.times
        primary.deeds += secondary.deeds
        for visitor in self.visitors.values():
            if visitor.claimed_by is secondary:
                visitor.claimed_by = primary

    def delete(self, event: Event) -> None:
        identifier = self.current(identifier_of(event["userId"]))
        person = self.find(identifier)
        if person is not None:
            self.people.remove(person)
        self.deleted[identifier] = datetime.fromisoformat(event["timestamp"])

    def suppress(self, event: Event) -> None:
        identifier = self.current(identifier_of(event["userId"]))
        person = self.find(identifier)
        identifiers = {identifier} | {Identifier(*pair) for pair in (person.identifiers.items() if person else ())}
        self.suppressed |= dict.fromkeys(identifiers, identifiers)
        self.delete(event)

    def unsuppress(self, event: Event) -> None:
        identifier = self.current(identifier_of(event["userId"]))
        for other in self.suppressed.pop(identifier, set()):
            self.suppressed.pop(other, None)
        self.deleted.pop(identifier, None)


def identifier_of(text: str) -> Identifier:
    """Return the identifier that a userId is, by its form."""
    if text.startswith(CIO_OF):
        return Identifier("cio_id", text)
    if text.startswith("cio_"):
        return Identifier("cio_id", text.removeprefix("cio_"))
    return Identifier("email", text.lower()) if "@" in text else Identifier("id", text)
