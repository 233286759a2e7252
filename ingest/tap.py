"""What ingest copies of the events that it accepts and refuses, while a live tail is watched (`lanes.taps`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import lanes
from ingest.errors import Refusal
from lanes import fates
from lanes.clock import machine_ms
from lanes.taps.tap import Tap
from mapping.envelope import SAFE_LEVELS, encoded, has_more_levels


class IngestTap(Tap):
    """The tap of an ingest process. Ask `is_watched` first: the other methods copy."""

    def appended(self, destination: str, events: Iterable[lanes.NewEvent], appended: lanes.Appended) -> None:
        """Copy some of the events of an append, with their results."""
        sequences = appended.sequences()
        found = zip(events, appended.results, sequences, strict=True)
        for event, result, sequence in self.chosen(found, sequences):
            self._copy(destination, event, result, sequence)

    def suppressed(self, destination: str, events: Sequence[lanes.NewEvent]) -> None:
        """Copy some of the events whose people are suppressed."""
        for event in self.chosen(events, [None] * len(events)):
            self._copy(destination, event, "suppressed", None)

    def refused(self, refusal: Refusal, source: str, event: Any) -> None:
        """Copy a refusal, and the event if only one was refused: any JSON value."""
        if self.can_copy_refusal():
            facts = {"fate": "refused", "source": source, "reason": f"HTTP {refusal.status}", "text": refusal.message}
            self.add({"at_ms": machine_ms(), "destination": None, "sequence": None, **facts}, _json(event))

    def _copy(self, destination: str, event: lanes.NewEvent, result: str, sequence: int | None) -> None:
        facts = {"at_ms": machine_ms(), "destination": destination, "sequence": sequence, "fate": result}
        _, source, _ = fates.parts(event.counted_as)
        self.add({**facts, "source": source, "reason": "", "text": None}, event.body)


def _json(event: Any) -> bytes:
    """Return an event as JSON; nothing for what is no event, is nested too deeply, or cannot be written."""
    if not isinstance(event, dict) or has_more_levels(event, SAFE_LEVELS):
        return b""
    try:
        return encoded(event)
    except (TypeError, ValueError):
        return b""
