"""A seeded sample of Segment events as real sites send them: each person's story, and the stories interleaved.

An anonymous visitor looks at pages, leaves an e-mail address and becomes a lead, later a customer with an id; installs
the app and removes it, joins a company, unsubscribes, turns out to have had an older account, deletes the account and
may come back. `segue_trace` says which chapter an event is of and where it stands in it; events of one chapter must
arrive in their order.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

Event = dict[str, Any]

_UNDER_WAY = 60
_PLANS = ("free", "pro", "team")
_CITIES = ("Lisbon", "Oslo", "Accra", "Lima", "Osaka", "Zürich")
_PAGES = ("/", "/pricing", "/docs", "/blog/why-order-matters", "/signup")
_DEEDS = ("Product Viewed", "Cart Updated", "Order Placed", "Report Exported", "Teammate Invited")
_STARTED_AT = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def events(count: int, seed: int) -> list[Event]:
    """Return at least `count` events, the same for the same seed: every story is complete and in its order."""
    dice = random.Random(seed)
    stories: list[list[Event]] = []
    total = 0
    while total < count:
        stories.append(list(_Story(dice, len(stories)).tell()))
        total += len(stories[-1])
    return list(_interleaved(stories, dice))


def _interleaved(stories: list[list[Event]], dice: random.Random) -> Iterator[Event]:
    """Yield the events of all stories, some dozens of them under way at any time."""
    untold = [iter(story) for story in reversed(stories)]
    under_way: list[Iterator[Event]] = []
    while untold or under_way:
        while untold and len(under_way) < _UNDER_WAY:
            under_way.append(untold.pop())
        story = dice.choice(under_way)
        event = next(story, None)
        if event is None:
            under_way.remove(story)
        else:
            yield event


class _Story:
    """What one person does, in order."""

    def __init__(self, dice: random.Random, number: int) -> None:
        self.dice = dice
        self.anonymous = {"anonymousId": f"visitor-{number:05}"}
        self.email = f"person{number:05}@example.com"
        self.customer = {"userId": f"customer-{number:05}"}
        self.older = {"userId": f"older-{number:05}"}
        self.company = f"company-{number // 8:04}"
        self.device = {"token": f"device-{number:05}", "type": dice.choice(("ios", "android"))}
        self.chapter = self.main = f"story-{number:05}"
        self.at = _STARTED_AT + timedelta(seconds=dice.randrange(86_400))
        self.told = 0

    def tell(self) -> Iterator[Event]:
        had_an_account = self._happens(0.2)
        if had_an_account:
            yield from self._older_account()
        yield from self._acts(self.anonymous, 2, 5)
        if self._happens(0.1):
            return
        yield self._identify({"email": self.email, "source": "newsletter", "coupon": "WELCOME"}, **self.anonymous)
        yield from self._acts(self.anonymous, 1, 3)
        if self._happens(0.2):
            return
        both = self.customer | self.anonymous
        yield self._identify({"email": self.email, "plan": self._one(_PLANS), "coupon": None}, **both)
        yield from self._acts(both, 1, 5)
        if self._happens(0.6):
            yield from self._uses_the_app()
        if self._happens(0.4):
            yield self._joins_a_company()
        if had_an_account:
            yield self._event("alias", previousId=self.older["userId"], **self.customer)
        if self._happens(0.3):
            yield self._identify({"city": self._one(_CITIES), "plan": self._one(_PLANS)}, **self.customer)
        yield from self._acts(self.customer, 1, 4)
        if self._happens(0.25):
            yield self._identify({"unsubscribed": True}, **self.customer)
        if self._happens(0.1):
            yield self._track("User Deleted", **self.customer)
            if self._happens(0.5):
                yield self._identify({"email": self.email, "plan": "free", "returned": True}, **self.customer)
                yield from self._acts(self.customer, 1, 2)

    def _older_account(self) -> Iterator[Event]:
        """A chapter of its own: nothing ties it to the other one before the alias."""
        self.chapter, self.told = f"{self.main}-older", 0
        yield self._identify({"city": self._one(_CITIES), "since": self.dice.randrange(2012, 2024)}, **self.older)
        yield from self._acts(self.older, 1, 3)
        self.chapter, self.told = self.main, 0

    def _uses_the_app(self) -> Iterator[Event]:
        app = {"device": self.device, "app": {"version": "4.2.0"}}
        yield self._track("Application Installed", context=app, **self.customer)
        yield from self._acts(self.customer, 0, 2)
        yield self._track("Application Opened", context=app, **self.customer)
        if self._happens(0.4):
            yield self._track("Application Uninstalled", context=app, **self.customer)

    def _joins_a_company(self) -> Event:
        traits = {"objectAttributes": {"name": self.company.title()}, "relationshipAttributes": {"role": "member"}}
        return self._event("group", groupId=self.company, traits=traits, **self.customer)

    def _acts(self, who: Event, least: int, most: int) -> Iterator[Event]:
        for _ in range(self.dice.randint(least, most)):
            if self._happens(0.4):
                yield self._event("page", properties={"url": f"https://example.com{self._one(_PAGES)}"}, **who)
            else:
                yield self._track(self._one(_DEEDS), **who)

    def _track(self, name: str, **members: Any) -> Event:
        return self._event("track", event=name, properties={}, **members)

    def _identify(self, traits: Event, **members: Any) -> Event:
        return self._event("identify", traits=traits, **members)

    def _event(self, kind: str, **members: Any) -> Event:
        self.told += 1
        self.at += timedelta(seconds=self.dice.randint(1, 900))
        trace = {"segue_trace": f"{self.chapter}:{self.told}"}
        for carrier in ("traits", "properties"):
            if carrier in members:
                members[carrier] = members[carrier] | trace
        if kind in ("track", "page"):
            members["properties"]["chapter"] = self.chapter
        return {
            "type": kind,
            "messageId": f"{self.chapter}-{self.told}-{self.dice.getrandbits(32):08x}",
            "timestamp": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            **members,
        }

    def _happens(self, probability: float) -> bool:
        return self.dice.random() < probability

    def _one(self, choices: tuple[str, ...]) -> str:
        return self.dice.choice(choices)
