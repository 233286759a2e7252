"""Who must be there after a story: its events applied one by one, each of them wholly before the next.

Written from what Segment and Customer.io say that the events mean (Track API reference, sections 8 and 9), and sharing
nothing with the code that it judges. Two rules are Segue's own promises: what names somebody who was merged away means
who remains, and what happened before a deletion but comes after it means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from tests.stories.telling import CIO_OF, LEAP_S, Event

FIVE_MINUTES_S = 300


class Name(NamedTuple):
    """An identifier: kind (`id`, `email`, `cio_id`) and value."""

    kind: str
    value: str


@dataclass(eq=False)
class Person:
    """Somebody; `names` by kind, deeds in no particular order."""

    born: int
    names: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    deeds: list[str] = field(default_factory=list)


@dataclass
class Visitor:
    deeds: list[str] = field(default_factory=list)
    claimed_by: Person | None = None
    claimed_at: int = 0


class World:
    """The people of one story. `reassign`: a new id for somebody whose address has another one takes its place."""

    def __init__(self, *, reassign: bool) -> None:
        self.reassign = reassign
        self.people: list[Person] = []
        self.visitors: dict[str, Visitor] = {}
        self.suppressed: dict[Name, set[Name]] = {}
        self.became: dict[Name, Name] = {}
        self.deleted: dict[Name, datetime] = {}
        self.by_cio_id: dict[str, Person] = {}
        self.now_s = 0
        self.born = 0

    def tell(self, phases: Sequence[Sequence[Event]]) -> None:
        """Apply the events; phases are LEAP_S apart."""
        for number, events in enumerate(phases):
            self.now_s = number * LEAP_S
            asked = {event["userId"] for event in events if str(event.get("userId", "")).startswith(CIO_OF)}
            for name in asked:
                found = self.find(Name("id", name.removeprefix(CIO_OF)))
                assert found is not None
                self.by_cio_id[name] = found
            for event in events:
                self.apply(event)

    def apply(self, event: Event) -> None:
        match event["type"], event.get("event"):
            case "identify", _:
                self.identify(event)
            case "alias", _:
                self.merge(self.now(name_of(event["userId"])), self.now(name_of(event["previousId"])))
            case "track", "User Deleted":
                self.delete(event)
            case "track", "User Suppressed":
                self.suppress(event)
            case "track", "User Unsuppressed":
                self.unsuppress(event)
            case _:
                self.act(event)

    # Names

    def now(self, name: Name) -> Name:
        """Who this name stands for after all merges."""
        while name in self.became:
            name = self.became[name]
        return name

    def find(self, name: Name) -> Person | None:
        if name.kind == "cio_id":
            person = self.by_cio_id.get(name.value)
            return person if person in self.people else None
        return next((person for person in self.people if person.names.get(name.kind) == name.value), None)

    def is_late(self, event: Event, *names: Name) -> bool:
        happened_at = datetime.fromisoformat(event["timestamp"])
        return any(name in self.deleted and happened_at <= self.deleted[name] for name in names)

    def create(self, name: Name) -> Person:
        self.born += 1
        self.people.append(Person(self.born, {name.kind: name.value}))
        return self.people[-1]

    # What events mean

    def identify(self, event: Event) -> None:
        traits = dict(event["traits"])
        told = name_of(event.get("userId") or traits["email"])
        name = self.now(told)
        if self.is_late(event, told, name) or name in self.suppressed:
            return
        wanted = [Name(kind, traits.pop(kind)) for kind in ("id", "email") if kind in traits]
        wanted = [Name(kind, value.lower() if kind == "email" else value) for kind, value in wanted]
        person = self.identified(name, [other for other in wanted if other.kind != name.kind], traits)
        if person is None:
            return
        for attribute, value in traits.items():
            if value is None:
                person.attributes.pop(attribute, None)
            elif attribute != "_update":
                person.attributes[attribute] = value
        if "anonymousId" in event:
            self.claim(event["anonymousId"], person)

    def identified(self, name: Name, others: list[Name], traits: Event) -> Person | None:
        """The rows of table 8.2."""
        person = self.find(name)
        if person is None:
            if name.kind == "cio_id":
                return None  # 12
            person = next((found for other in others if (found := self.find(other))), None)
            if person is not None:
                if name.kind not in person.names or self.reassign:  # 3, 4
                    person.names[name.kind] = name.value
            elif traits.get("_update"):
                return None  # 13
            else:
                person = self.create(name)  # 1
        for other in others:
            person = self.with_name(person, name, other)
        return person

    def with_name(self, person: Person, by: Name, other: Name) -> Person:
        owner = self.find(other)
        if owner is person or other in self.suppressed:
            return person
        if owner is None:
            may_change = by.kind == "cio_id" or (by.kind, other.kind) == ("id", "email")
            if other.kind not in person.names or may_change:  # 5, 6, 9, 11; else 10
                person.names[other.kind] = other.value
            return person
        if by.kind == "cio_id" or other.kind in person.names or by.kind in owner.names:
            return person  # 7
        older, younger = sorted((person, owner), key=lambda one: one.born)  # 8
        names = person.names | owner.names
        self.unite(older, younger)
        older.names = names
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
        told = name_of(event["userId"])
        name = self.now(told)
        if self.is_late(event, told, name) or name in self.suppressed:
            return
        (self.find(name) or self.create(name)).deeds.append(deed)

    def claim(self, anonymous_id: str, person: Person) -> None:
        visitor = self.visitors.setdefault(anonymous_id, Visitor())
        if visitor.claimed_by is None:
            visitor.claimed_by, visitor.claimed_at = person, self.now_s
            person.deeds += visitor.deeds

    def merge(self, remains: Name, leaves: Name) -> None:
        if remains == leaves:
            return
        primary, secondary = self.find(remains), self.find(leaves)
        assert primary is not None, "no story merges into nobody"
        if secondary is not None:
            self.unite(primary, secondary)
        self.became[leaves] = remains

    def unite(self, primary: Person, secondary: Person) -> None:
        self.people.remove(secondary)
        primary.attributes = secondary.attributes | primary.attributes
        primary.deeds += secondary.deeds
        for visitor in self.visitors.values():
            if visitor.claimed_by is secondary:
                visitor.claimed_by = primary

    def delete(self, event: Event) -> None:
        name = self.now(name_of(event["userId"]))
        person = self.find(name)
        if person is not None:
            self.people.remove(person)
        self.deleted[name] = datetime.fromisoformat(event["timestamp"])

    def suppress(self, event: Event) -> None:
        name = self.now(name_of(event["userId"]))
        person = self.find(name)
        names = {name} | {Name(*pair) for pair in (person.names.items() if person else ())}
        self.suppressed |= dict.fromkeys(names, names)
        self.delete(event)

    def unsuppress(self, event: Event) -> None:
        name = self.now(name_of(event["userId"]))
        for other in self.suppressed.pop(name, set()):
            self.suppressed.pop(other, None)
        self.deleted.pop(name, None)


def name_of(text: str) -> Name:
    """What a userId stands for, by its form."""
    if text.startswith(CIO_OF):
        return Name("cio_id", text)
    if text.startswith("cio_"):
        return Name("cio_id", text.removeprefix("cio_"))
    return Name("email", text.lower()) if "@" in text else Name("id", text)
