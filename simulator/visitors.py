"""Anonymous visitors: their events and relationships are kept until a person claims the anonymous id (rules 31-33).

The first person who uses an anonymous id owns it permanently. They get the events that were received in the 30 days
before, and in the five minutes after.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.person import Json, ObjectKey, Person

LATE_S = 300.0
KEPT_S = 30 * 86_400.0


@dataclass(slots=True)
class Visitor:
    """One anonymous id. Events are kept with the time of receipt, in Unix seconds."""

    events: list[tuple[Json, float]] = field(default_factory=list)
    relationships: dict[ObjectKey, Json] = field(default_factory=dict)
    claimed_by: Person | None = None
    claimed_at: float = 0.0

    def claimant(self, received_at: float) -> Person | None:
        """Return the person who gets an event received at that time; None when no person does yet."""
        person = self.claimed_by
        return person if person and person.exists and received_at <= self.claimed_at + LATE_S else None

    def claim(self, person: Person, at: float, *, reidentify: bool) -> list[Json]:
        """Return the events that the person gets. With `reidentify`, a repeated claim also gets late events."""
        if self.claimed_by is not None and (self.claimed_by is not person or not reidentify):
            return []
        self.claimed_by, self.claimed_at = person, at
        waiting = self.events
        self.events = [(event, received_at) for event, received_at in waiting if received_at > at + LATE_S]
        return [event for event, received_at in waiting if at - KEPT_S <= received_at <= at + LATE_S]
