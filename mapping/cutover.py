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
    """The moment from which on events are sent, by a time that they carry. The events before it are shadow events."""

    at_ms: float  # Unix milliseconds; infinite: no event is sent
    by: CutoverField = "receivedAt"

    @property
    def is_set(self) -> bool:
        """Whether there is a moment from which on events are sent."""
        return math.isfinite(self.at_ms)

    def is_before(self, event: JsonObject, accepted_at_ms: float) -> bool:
        """Whether this is a shadow event. One without a readable time has that of its acceptance."""
        value = event.get(self.by)
        time_ms = event_milliseconds(value) if type(value) is str else None
        return (accepted_at_ms if time_ms is None else time_ms) < self.at_ms


NEVER: Final = Cutover(math.inf)  # of a destination with `mode = "shadow"`
