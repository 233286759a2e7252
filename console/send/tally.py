"""What an input has: counts of its events, and the range of their times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from console.send.checking import Checked
from mapping import DELETION

# An event that is older triggers no campaign at Customer.io (OpenAPI file of the Journeys Track API, `timestamp`).
TRIGGER_MS: Final = 72 * 3600 * 1000
TRIGGERING: Final = frozenset({"track", "page", "screen"})
_REMOVALS: Final = frozenset({"alias", DELETION})


@dataclass(slots=True)
class Tally:
    """Counts of the records that were read so far. Times are Unix milliseconds."""

    events: int = 0  # that can be sent
    rejected: int = 0  # records that cannot
    types: dict[str, int] = field(default_factory=dict)
    first_ms: int = 0
    last_ms: int = 0
    may_trigger: int = 0  # events that are less than 72 hours old
    removals: int = 0  # events of types that merge or delete people
    untimed: int = 0  # events without a time, or with one in the future
    unlikely_ids: int = 0

    def add(self, event: Checked, now_ms: int) -> None:
        """Count an event that can be sent."""
        self.first_ms = min(self.first_ms, event.happened_ms) if self.events else event.happened_ms
        self.last_ms = max(self.last_ms, event.happened_ms) if self.events else event.happened_ms
        self.events += 1
        self.types[event.type] = self.types.get(event.type, 0) + 1
        self.may_trigger += event.type in TRIGGERING and event.happened_ms > now_ms - TRIGGER_MS
        self.removals += event.type in _REMOVALS
        self.untimed += not event.is_timed
        self.unlikely_ids += event.has_unlikely_id
