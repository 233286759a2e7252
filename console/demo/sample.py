"""A seeded sample of Segment events as real sites send them: the lifecycles of many customers, interleaved.

An anonymous visitor looks at pages, leaves an e-mail address and becomes a lead, later a customer with an id. Customers
install the app and remove it, join a company, unsubscribe, merge an older account, delete their account and may come
back. `segue_trace` is `STREAM:N`: the events of a stream must be applied in the order of N.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

Event = dict[str, Any]

_CONCURRENT = 60
_PLANS = ("free", "pro", "team")
_CITIES = ("Lisbon", "Oslo", "Accra", "Lima", "Osaka", "Zürich")
_PAGES = ("/", "/pricing", "/docs", "/blog/why-order-matters", "/signup")
_TRACK_EVENTS = ("Product Viewed", "Cart Updated", "Order Placed", "Report Exported", "Teammate Invited")
_STARTED_AT = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def events(count: int, seed: int) -> list[Event]:
    """Return at least `count` events, the same for the same seed. Every lifecycle is complete and in order."""
    dice = random.Random(seed)
    lifecycles: list[list[Event]] = []
    total = 0
    while total < count:
        lifecycles.append(list(_Lifecycle(dice, len(lifecycles)).events()))
        total += len(lifecycles[-1])
    return list(_interleaved(lifecycles, dice))


def _interleaved(lifecycles: list[list[Event]], dice: random.Random) -> Iterator[Event]:
    """Yield the events of all lifecycles, of at most _CONCURRENT ones at a time."""
    pending = [iter(lifecycle) for lifecycle in reversed(lifecycles)]
    current: list[Iterator[Event]] = []
    while pending or current:
        while pending and len(current) < _CONCURRENT:
            current.append(pending.pop())
        lifecycle = dice.choice(current)
        event = next(lifecycle, None)
        if event is None:
            current.remove(lifecycle)
        else:
            yield event


class _Lifecycle:
    """The events of one customer, in order."""

    def __init__(self, dice: random.Random, number: int) -> None:
        self.dice = dice
        self.anonymous = {"anonymousId": f"visitor-{number:05}"}
        self.email = f"person{number:05}@example.com"
        self.customer = {"userId": f"customer-{number:05}"}
        self.older = {"userId": f"older-{number:05}"}
        self.company = f"company-{number // 8:04}"
        self.device = {"token": f"device-{number:05}", "type": dice.choice(("ios", "android"))}
        self.stream = self.main = f"stream-{number:05}"
        self.at = _STARTED_AT + timedelta(seconds=dice.randrange(86_400))
        self.count = 0

    def events(self) -> Iterator[Event]:
        had_an_account = self._happens(0.2)
        if had_an_account:
            yield from self._older_account()
        yield from self._activities(self.anonymous, 2, 5)
        if self._happens(0.1):
            return
        yield self._identify({"email": self.email, "source": "newsletter", "coupon": "WELCOME"}, **self.anonymous)
        yield from self._activities(self.anonymous, 1, 3)
        if self._happens(0.2):
            return
        both = self.customer | self.anonymous
        yield self._identify({"email": self.email, "plan": self._one_of(_PLANS), "coupon": None}, **both)
        yield from self._activities(both, 1, 5)
        if self._happens(0.6):
            yield from self._uses_the_app()
        if self._happens(0.4):
            yield self._joins_a_company()
        if had_an_account:
            yield self._event("alias", previousId=self.older["userId"], **self.customer)
        if self._happens(0.3):
            yield self._identify({"city": self._one_of(_CITIES), "plan": self._one_of(_PLANS)}, **self.customer)
        yield from self._activities(self.customer, 1, 4)
        if self._happens(0.25):
            yield self._identify({"unsubscribed": True}, **self.customer)
        if self._happens(0.1):
            yield self._track("User Deleted", **self.customer)
            if self._happens(0.5):
                yield self._identify({"email": self.email, "plan": "free", "returned": True}, **self.customer)
                yield from self._activities(self.customer, 1, 2)

    def _older_account(self) -> Iterator[Event]:
        """A stream of its own: it shares no identity with the other one before the alias."""
        self.stream, self.count = f"{self.main}-older", 0
        yield self._identify({"city": self._one_of(_CITIES), "since": self.dice.randrange(2012, 2024)}, **self.older)
        yield from self._activities(self.older, 1, 3)
        self.stream, self.count = self.main, 0

    def _uses_the_app(self) -> Iterator[Event]:
        app = {"device": self.device, "app": {"version": "4.2.0"}}
        yield self._track("Application Installed", context=app, **self.customer)
        yield from self._activities(self.customer, 0, 2)
        yield self._track("Application Opened", context=app, **self.customer)
        if self._happens(0.4):
            yield self._track("Application Uninstalled", context=app, **self.customer)

    def _joins_a_company(self) -> Event:
        traits = {"objectAttributes": {"name": self.company.title()}, "relationshipAttributes": {"role": "member"}}
        return self._event("group", groupId=self.company, traits=traits, **self.customer)

    def _activities(self, identity: Event, least: int, most: int) -> Iterator[Event]:
        for _ in range(self.dice.randint(least, most)):
            if self._happens(0.4):
                yield self._event("page", properties={"url": f"https://example.com{self._one_of(_PAGES)}"}, **identity)
            else:
                yield self._track(self._one_of(_TRACK_EVENTS), **identity)

    def _track(self, name: str, **members: Any) -> Event:
        return self._event("track", event=name, properties={}, **members)

    def _identify(self, traits: Event, **members: Any) -> Event:
        return self._event("identify", traits=traits, **members)

    def _event(self, kind: str, **members: Any) -> Event:
        self.count += 1
        self.at += timedelta(seconds=self.dice.randint(1, 900))
        trace = {"segue_trace": f"{self.stream}:{self.count}"}
        for carrier in ("traits", "properties"):
            if carrier in members:
                members[carrier] = members[carrier] | trace
        if kind in ("track", "page"):
            members["properties"]["stream"] = self.stream
        return {
            "type": kind,
            "messageId": f"{self.stream}-{self.count}-{self.dice.getrandbits(32):08x}",
            "timestamp": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            **members,
        }

    def _happens(self, probability: float) -> bool:
        return self.dice.random() < probability

    def _one_of(self, choices: tuple[str, ...]) -> str:
        return self.dice.choice(choices)
