"""Stories of identities, generated from a seed: the Segment events of one person under the identifiers they have.

A story begins with an arrival and continues with chapters: the rows of the identity table (section 8.2 of the Track API
reference), aliases and chains of them, deletions, suppressions, visitors around the five-minute rule. It has phases,
LEAP_S apart; a phase begins when all of the one before was applied. Identifiers begin with `sN-`, the number of the
story.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

Event = dict[str, Any]

PHASES = 6
LEAP_S = 160
# Stands for the cio_id of the person who has this id when the phase begins.
CIO_OF = "cio_of "

_PLANS = ("free", "pro", "team")
_COLOURS = ("red", "green", None)


@dataclass
class Story:
    """The events of each phase.

    `conflicts`: several people claim an identifier, or an identifier changes. Who has it in the end depends on the
    order in which the service applies operations that no timestamp corrects.
    """

    number: int
    phases: list[list[Event]] = field(default_factory=lambda: [[] for _ in range(PHASES)])
    chapters: list[str] = field(default_factory=list)
    conflicts: bool = False


def stories(count: int, seed: int, start: datetime) -> list[Story]:
    """Return the stories, half of them without conflicts. Their events happen from `start` on."""
    dice = random.Random(seed)
    return [_Generator(dice, number, start).generate() for number in range(count)]


class _Generator:
    def __init__(self, dice: random.Random, number: int, start: datetime) -> None:
        self.dice = dice
        self.story = Story(number)
        self.start = start
        self.phase = 0
        self.at_s = 0
        self.events = 0
        self.identifiers = 0
        self.user, self.email, self.visitor = self.new_id(), self.new_email(), self.new_visitor()

    def generate(self) -> Story:
        possible = _PEACEFUL + _CONFLICTS if self.happens() else _PEACEFUL
        chapters = self.dice.sample(possible, self.dice.randint(1, 2))
        for chapter in (self.dice.choice(_ARRIVALS), *chapters):
            if self.phase + _PHASES_OF.get(chapter, 0) >= PHASES:
                continue
            self.story.chapters.append(chapter.__name__)
            self.story.conflicts = self.story.conflicts or chapter in _CONFLICTS
            chapter(self)
            self.goes_on()
        return self.story

    # Arrivals: afterwards there is a person with the id `user` and the e-mail address `email`.

    def visitor_lead_customer(self) -> None:
        """Rows 1 and 3."""
        self.acts(anonymousId=self.visitor, least=1)
        self.identify({"email": self.email}, anonymousId=self.visitor)
        self.acts(anonymousId=self.visitor)
        self.identify({"email": self.email}, userId=self.user, anonymousId=self.visitor)

    def signs_up(self) -> None:
        """Row 1 and row 2."""
        self.identify({"email": self.email}, userId=self.user)
        self.identify({}, userId=self.user)

    def gets_an_address(self) -> None:
        """Row 5."""
        self.identify({}, userId=self.user)
        self.acts(userId=self.user)
        self.identify({"email": self.email.upper()}, userId=self.user)

    def gets_an_id(self) -> None:
        """Row 9."""
        self.identify({}, userId=self.email)
        self.identify({"id": self.user}, userId=self.email)

    def is_known_by_deeds(self) -> None:
        """An event comes before any other fact about the person."""
        self.acts(userId=self.user, least=1)
        self.identify({"email": self.email}, userId=self.user)

    # Chapters

    def goes_on(self) -> None:
        self.acts(userId=self.user)
        if self.happens():
            self.identify({}, userId=self.user, late_s=self.dice.choice((0, 0, 90)))
            self.acts(userId=self.user)

    def takes_a_new_address(self) -> None:
        """Row 6."""
        self.email = self.new_email()
        self.identify({"email": self.email}, userId=self.user)

    def takes_an_id_too_many(self) -> None:
        """Row 4."""
        self.next_phase()
        second = self.new_id()
        self.identify({"email": self.email}, userId=second)
        self.next_phase()
        self.acts(userId=second)
        self.acts(userId=self.user, least=1)

    def wants_the_address_of_another(self) -> None:
        """Row 7."""
        other, address = self.new_id(), self.new_email()
        self.identify({"email": address}, userId=other)
        self.identify({"email": address}, userId=self.user)
        self.acts(userId=other)

    def turns_out_to_be_two(self) -> None:
        """Row 8. The two share no key before an event says that they are one person, so the second comes later."""
        user, address = self.new_id(), self.new_email()
        first, second = self.dice.sample([user, address], 2)
        self.identify({}, userId=first)
        self.acts(userId=first)
        self.next_phase()
        self.identify({}, userId=second)
        self.acts(userId=second)
        self.identify({"email": address}, userId=user)
        self.acts(userId=user)

    def is_given_another_id_by_address(self) -> None:
        """Row 10."""
        self.next_phase()
        self.identify({"id": self.new_id()}, userId=self.email)
        self.next_phase()

    def is_named_by_cio_id(self) -> None:
        """Rows 11 and 12."""
        self.next_phase()
        self.email = self.new_email()
        self.identify({"email": self.email}, userId=CIO_OF + self.user)
        self.identify({}, userId=f"cio_f{self.story.number:07x}")
        self.next_phase()

    def is_updated_only(self) -> None:
        """Row 13."""
        absent = self.new_id()
        self.identify({"_update": True}, userId=absent)
        if self.happens():
            self.identify({}, userId=absent)
        self.identify({"_update": True}, userId=self.user)

    def is_suppressed(self) -> None:
        """Row 14."""
        self.track("User Suppressed", userId=self.user)
        self.identify({}, userId=self.user)
        self.acts(userId=self.user, least=1)
        if self.happens():
            self.track("User Unsuppressed", userId=self.user)
            self.identify({"email": self.email}, userId=self.user)
        else:
            self.becomes_another_person()

    def is_deleted(self) -> None:
        self.track("User Deleted", userId=self.user)
        self.track("Late", userId=self.user, late_s=60)
        if self.happens():
            self.identify({}, userId=self.user, late_s=60)
        if self.happens():
            self.identify({"email": self.email}, userId=self.user)
        else:
            self.becomes_another_person()

    def had_older_accounts(self) -> None:
        """A chain of aliases; late events of any of them are events of this person."""
        older = [self.new_id() for _ in range(self.dice.randint(1, 3))]
        for account in older:
            self.identify({}, userId=account)
            self.acts(userId=account)
        aliases = list(pairwise([self.user, *older]))
        for primary, secondary in self.dice.sample(aliases, len(aliases)):
            self.event("alias", userId=primary, previousId=secondary)
            self.track("Late", userId=secondary)
        for account in older:
            self.identify({}, userId=account)

    def was_a_visitor_for_minutes(self) -> None:
        """Events just after the claim, a phase after it, and two phases after it, which is too late."""
        self.visitor = self.new_visitor()
        self.acts(anonymousId=self.visitor)
        self.identify({}, userId=self.user, anonymousId=self.visitor)
        for _ in range(2):
            self.acts(anonymousId=self.visitor, least=1)
            self.next_phase()
        self.acts(anonymousId=self.visitor, least=1)

    def shares_a_device(self) -> None:
        """Two people claim one visitor: the first one keeps it."""
        shared, second = self.new_visitor(), self.new_id()
        self.acts(anonymousId=shared, least=1)
        self.identify({}, userId=self.user, anonymousId=shared)
        self.acts(anonymousId=shared)
        self.identify({}, userId=second, anonymousId=shared)
        self.acts(anonymousId=shared, least=1)

    # Events

    def becomes_another_person(self) -> None:
        self.user, self.email = self.new_id(), self.new_email()
        self.signs_up()

    def acts(self, least: int = 0, **who: Any) -> None:
        for _ in range(self.dice.randint(least, 2)):
            if self.happens():
                self.track("Did", **who)
            else:
                self.event("page", properties={"url": "https://example.com/"}, **who)

    def track(self, name: str, late_s: int = 0, **who: Any) -> None:
        self.event("track", late_s, event=name, properties={}, **who)

    def identify(self, traits: Event, late_s: int = 0, **who: Any) -> None:
        attributes = {"plan": self.dice.choice(_PLANS), "colour": self.dice.choice(_COLOURS), f"n{self.events % 4}": 1}
        some = self.dice.sample(sorted(attributes), 2)
        self.event("identify", late_s, traits=traits | {name: attributes[name] for name in some}, **who)

    def event(self, kind: str, late_s: int = 0, **members: Any) -> None:
        self.events += 1
        self.at_s += self.dice.randint(2, 5)
        happened_at = self.start + timedelta(seconds=self.at_s - late_s)
        name = f"s{self.story.number}-{self.events}"
        if "properties" in members:
            members["properties"] |= {"deed": name}
        event = {"type": kind, "messageId": name, "timestamp": happened_at.isoformat(), **members}
        self.story.phases[self.phase].append(event)

    def next_phase(self) -> None:
        self.phase += 1
        self.at_s = max(self.at_s, self.phase * LEAP_S)

    def new_id(self) -> str:
        return f"s{self.story.number}-u{self.number()}"

    def new_email(self) -> str:
        return f"s{self.story.number}-e{self.number()}@example.com"

    def new_visitor(self) -> str:
        return f"s{self.story.number}-v{self.number()}"

    def number(self) -> int:
        self.identifiers += 1
        return self.identifiers

    def happens(self) -> bool:
        return self.dice.random() < 0.5


_Chapter = Callable[[_Generator], None]

_ARRIVALS: tuple[_Chapter, ...] = (
    _Generator.visitor_lead_customer,
    _Generator.signs_up,
    _Generator.gets_an_address,
    _Generator.gets_an_id,
    _Generator.is_known_by_deeds,
)
_CONFLICTS: tuple[_Chapter, ...] = (
    _Generator.takes_a_new_address,
    _Generator.takes_an_id_too_many,
    _Generator.wants_the_address_of_another,
    _Generator.turns_out_to_be_two,
    _Generator.is_given_another_id_by_address,
    _Generator.is_named_by_cio_id,
    _Generator.is_updated_only,
    _Generator.shares_a_device,
)
_PEACEFUL: tuple[_Chapter, ...] = (
    _Generator.is_suppressed,
    _Generator.is_deleted,
    _Generator.had_older_accounts,
    _Generator.was_a_visitor_for_minutes,
)
_PHASES_OF: dict[_Chapter, int] = {
    _Generator.takes_an_id_too_many: 2,
    _Generator.turns_out_to_be_two: 1,
    _Generator.is_given_another_id_by_address: 2,
    _Generator.is_named_by_cio_id: 2,
    _Generator.was_a_visitor_for_minutes: 2,
}
