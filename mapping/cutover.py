"""Which events of a destination are shadow events: mapped, packed and recorded like all others, and not sent.

The decision depends on the event alone. So an event that arrives late, is repeated, or is replayed as a dead letter is
decided as before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from mapping.envelope import JsonObject
from mapping.timestamps import event_milliseconds

CutoverField = Literal["receivedAt", "originalTimestamp"]


@dataclass(frozen=True, slots=True)
class Cutover:
    """The times of the events that are sent. All others are shadow events. Times are Unix milliseconds."""

    at_ms: float  # the first that is sent, a whole number; infinite: none is
    until_ms: float = math.inf  # the first that is not sent any more
    by: CutoverField = "receivedAt"  # the time of an event that is compared

    @property
    def sends(self) -> bool:
        """Whether there are times whose events are sent."""
        return self.at_ms < self.until_ms

    def excludes(self, event: JsonObject, accepted_at_ms: float) -> bool:
        """Whether this is a shadow event. One without a readable time has that of its acceptance."""
        value = event.get(self.by)
        time_ms = event_milliseconds(value) if type(value) is str else None
        return not self.at_ms <= (accepted_at_ms if time_ms is None else time_ms) < self.until_ms


NEVER: Final = Cutover(math.inf)  # of a destination with `mode = "shadow"`
