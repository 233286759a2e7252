"""The expected people of a sample, calculated one event at a time. The demo compares every person with this result.

It follows the documentation of Segment and Customer.io and shares no code with the pipeline. It knows the kinds of
events that `console.demo.sample` generates, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from console.demo.sample import Event


@dataclass(slots=True)
class Person:
    """A person as Customer.io must have it. `activities` are names of events, or addresses of pages, by stream, in
    order; `devices` are platforms by token."""

    id: str | None = None
    email: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)
    activities: dict[str, list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the id where there is one, else the e-mail address. It is unique."""
        return self.id or self.email or ""

    def add(self, stream: str, activity: str) -> None:
        """Append an activity to a stream."""
        self.activities.setdefault(stream, []).append(activity)


def people(events: Iterable[Event]) -> dict[str, Person]:
    """Return the people who exist after the events, by name."""
    world = _World()
    for event in events:
        world.apply(event)
    return {person.name: person for person in world.named.values()}


class _World:
    def __init__(self) -> None:
        self.named: dict[str, Person] = {}  # by id and by e-mail address
        self.visitors: dict[str, Person] = {}  # by anonymous id, once identified
        self.unknown: dict[str, list[tuple[str, str]]] = {}  # activities by anonymous id, until it is identified

    def apply(self, event: Event) -> None:
        match event["type"], event.get("event"):
            case "identify", _:
                self.identify(event)
            case "alias", _:
                self.merge(event["userId"], event["previousId"])
            case "group", _:
                self.find_or_create(event)
            case "track", "User Deleted":
                self.delete(self.find(event["userId"]))
            case "track", "Application Installed" | "Application Opened":
                device = event["context"]["device"]
                self.find_or_create(event).devices[device["token"]] = device["type"]
            case "track", "Application Uninstalled":
                self.find_or_create(event).devices.pop(event["context"]["device"]["token"], None)
            case _:
                self.add_activity(event)

    def identify(self, event: Event) -> None:
        """Update the person with the id, else the one with the e-mail address, else a new one."""
        traits = {name: value for name, value in event["traits"].items() if name != "segue_trace"}
        user_id, email = event.get("userId"), traits.pop("email", None)
        person = self.find(user_id) or self.find(email) or Person()
        self.set_names(person, user_id, email)
        for name, value in traits.items():
            if value is None:
                person.attributes.pop(name, None)
            else:
                person.attributes[name] = value
        anonymous_id = event.get("anonymousId")
        if anonymous_id and anonymous_id not in self.visitors:
            self.visitors[anonymous_id] = person
            for stream, activity in self.unknown.pop(anonymous_id, []):
                person.add(stream, activity)

    def add_activity(self, event: Event) -> None:
        """Add the activity to its person; that of an unknown visitor is added when the visitor is identified."""
        properties = event["properties"]
        stream, activity = properties["stream"], event.get("event") or properties["url"]
        if "userId" in event:
            self.find_or_create(event).add(stream, activity)
        elif event["anonymousId"] in self.visitors:
            self.visitors[event["anonymousId"]].add(stream, activity)
        else:
            self.unknown.setdefault(event["anonymousId"], []).append((stream, activity))

    def merge(self, primary_id: str, secondary_id: str) -> None:
        """Copy to the primary what only the secondary has, and delete the secondary."""
        primary, secondary = self.find(primary_id), self.find(secondary_id)
        if primary is None or secondary is None:
            return
        primary.attributes = secondary.attributes | primary.attributes
        primary.devices = secondary.devices | primary.devices
        for stream, activities in secondary.activities.items():
            primary.activities.setdefault(stream, []).extend(activities)
        self.delete(secondary)

    def find_or_create(self, event: Event) -> Person:
        """Return the person with the event's user id, created where there is none."""
        person = self.find(event["userId"]) or Person()
        self.set_names(person, event["userId"], None)
        return person

    def find(self, name: str | None) -> Person | None:
        return self.named.get(name) if name else None

    def set_names(self, person: Person, user_id: str | None, email: str | None) -> None:
        """Set the names that the person lacks, and index the person by all of them."""
        person.id = person.id or user_id
        person.email = person.email or email
        self.named |= {name: person for name in (person.id, person.email) if name}

    def delete(self, person: Person | None) -> None:
        if person is not None:
            for name in (person.id, person.email):
                self.named.pop(name or "", None)
