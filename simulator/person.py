"""A person of the workspace, with attributes, events, devices and relationships."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = dict[str, Any]
ObjectKey = tuple[str, str]  # object_type_id, object_id

NEVER = float("-inf")


class Trace(NamedTuple):
    """The position of an operation in a stream of events; set by tests."""

    stream: str
    position: int


@dataclass(slots=True, eq=False)
class Person:
    """A person.

    `number` grows with the time of creation. `times` holds the timestamp of each attribute, of removed ones too (Unix
    seconds); `traces` holds the operation that set it. Events are in the order in which they were applied.
    """

    cio_id: str
    number: int
    id: str | None = None
    email: str | None = None
    phone: str | None = None
    attributes: Json = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    traces: dict[str, Trace] = field(default_factory=dict)
    updated_at: float = NEVER
    devices: dict[str, Json] = field(default_factory=dict)  # by token
    events: list[Json] = field(default_factory=list)
    relationships: dict[ObjectKey, Json] = field(default_factory=dict)
    anonymous_ids: list[str] = field(default_factory=list)
    exists: bool = True

    def inherit(self, other: Person) -> None:
        """Add the data of a person who is merged into this one; existing values take precedence."""
        for name, value in other.attributes.items():
            if name not in self.attributes:
                self.attributes[name] = value
                self.times[name] = other.times.get(name, NEVER)
                if name in other.traces:
                    self.traces[name] = other.traces[name]
        self.events += [event | {"may_trigger": False} for event in other.events]
        self.devices = other.devices | self.devices
        self.relationships = other.relationships | self.relationships
        self.anonymous_ids += other.anonymous_ids

    def json(self) -> Json:
        """Return the person as in `/_sim/people`, see docs/simulator.md."""
        return {
            "cio_id": self.cio_id,
            "id": self.id,
            "email": self.email,
            "phone": self.phone,
            "attributes": self.attributes,
            "devices": [{"token": token} | device for token, device in self.devices.items()],
            "events": self.events,
            "relationships": [
                {"object_type_id": kind, "object_id": name, "attributes": attributes}
                for (kind, name), attributes in self.relationships.items()
            ],
            "anonymous_ids": self.anonymous_ids,
        }


def merge_attributes(into: Json, attributes: Json) -> None:
    """Set attributes; null and "" remove one."""
    for name, value in attributes.items():
        if value is None or value == "":
            into.pop(name, None)
        else:
            into[name] = value
