"""What must come out of a sample, calculated one event after the other: the demo compares every person with it.

Written from what the events mean, in Segment's and Customer.io's own documentation, and sharing nothing with the code
that it judges. It knows the kinds of events that `console.demo.sample` tells of, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from console.demo.sample import Event


@dataclass(slots=True)
class Person:
    """Somebody as Customer.io must know them. `deeds` are names of events, or addresses of pages, by chapter, in
    order; `devices` the platform by token."""

    id: str | None = None
    email: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)
    deeds: dict[str, list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The id where there is one, else the e-mail address: nobody else has it."""
        return self.id or self.email or ""

    def acts(self, chapter: str, deed: str) -> None:
        self.deeds.setdefault(chapter, []).append(deed)


def people(events: Iterable[Event]) -> dict[str, Person]:
    """Return everybody who exists after the events, by name."""
    world = _World()
    for event in events:
        world.apply(event)
    return {person.name: person for person in world.named.values()}


class _World:
    def __init__(self) -> None:
        self.named: dict[str, Person] = {}  # by id and by e-mail address
        self.visitors: dict[str, Person] = {}  # by anonymous id, from the moment they said who they are
        self.unknown: dict[str, list[tuple[str, str]]] = {}  # deeds of those who have not, by anonymous id

    def apply(self, event: Event) -> None:
        match event["type"], event.get("event"):
            case "identify", _:
                self.identify(event)
            case "alias", _:
                self.merge(event["userId"], event["previousId"])
            case "group", _:
                self.known(event)
            case "track", "User Deleted":
                self.forget(self.find(event["userId"]))
            case "track", "Application Installed" | "Application Opened":
                device = event["context"]["device"]
                self.known(event).devices[device["token"]] = device["type"]
            case "track", "Application Uninstalled":
                self.known(event).devices.pop(event["context"]["device"]["token"], None)
            case _:
                self.act(event)

    def identify(self, event: Event) -> None:
        """Update the person who has the id, else the one who has the e-mail address, else a new one."""
        traits = {name: value for name, value in event["traits"].items() if name != "segue_trace"}
        user_id, email = event.get("userId"), traits.pop("email", None)
        person = self.find(user_id) or self.find(email) or Person()
        self.name(person, user_id, email)
        for name, value in traits.items():
            if value is None:
                person.attributes.pop(name, None)
            else:
                person.attributes[name] = value
        anonymous_id = event.get("anonymousId")
        if anonymous_id and anonymous_id not in self.visitors:
            self.visitors[anonymous_id] = person
            for chapter, deed in self.unknown.pop(anonymous_id, []):
                person.acts(chapter, deed)

    def act(self, event: Event) -> None:
        """Add the deed to whoever did it; a visitor's waits until they say who they are."""
        properties = event["properties"]
        chapter, deed = properties["chapter"], event.get("event") or properties["url"]
        if "userId" in event:
            self.known(event).acts(chapter, deed)
        elif event["anonymousId"] in self.visitors:
            self.visitors[event["anonymousId"]].acts(chapter, deed)
        else:
            self.unknown.setdefault(event["anonymousId"], []).append((chapter, deed))

    def merge(self, primary_id: str, secondary_id: str) -> None:
        """Give the primary what the secondary has and it lacks; the secondary is no more."""
        primary, secondary = self.find(primary_id), self.find(secondary_id)
        if primary is None or secondary is None:
            return
        primary.attributes = secondary.attributes | primary.attributes
        primary.devices = secondary.devices | primary.devices
        for chapter, deeds in secondary.deeds.items():
            primary.deeds.setdefault(chapter, []).extend(deeds)
        self.forget(secondary)

    def known(self, event: Event) -> Person:
        """Return the person with the event's user id, who exists from now on if they did not."""
        person = self.find(event["userId"]) or Person()
        self.name(person, event["userId"], None)
        return person

    def find(self, name: str | None) -> Person | None:
        return self.named.get(name) if name else None

    def name(self, person: Person, user_id: str | None, email: str | None) -> None:
        """Let the person be found by the names that they have now; a name that is set stays."""
        person.id = person.id or user_id
        person.email = person.email or email
        self.named |= {name: person for name in (person.id, person.email) if name}

    def forget(self, person: Person | None) -> None:
        if person is not None:
            for name in (person.id, person.email):
                self.named.pop(name or "", None)
