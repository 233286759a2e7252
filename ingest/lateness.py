"""How late events come: for each source, how many were received after a later event of the same person, and by how
much. These are the figures from which `reorder_ms` is chosen.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from ingest.counters import Counters

# Upper bounds of the histogram, ms. The last bucket has none.
BOUNDS_MS: Final = (25, 100, 300, 1_000, 2_000, 5_000, 10_000)
_NAMES: Final = (*(f"late_{bound}" for bound in BOUNDS_MS), "late_more")
_MOST_PEOPLE: Final = 50_000


class Lateness:
    """Counts late events. Remembers the last event of the 50,000 to 100,000 people that were seen last."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._recent: dict[str, tuple[int, int]] = {}  # person → when their last event happened, and its receipt
        self._older: dict[str, tuple[int, int]] = {}

    def note(self, source: str, person: str, happened_at_ms: int, received_at_ms: int, wait_ms: int) -> None:
        """Count an event that is late: received after an event that happened later."""
        last = self._recent.get(person) or self._older.get(person)
        if last is not None and happened_at_ms < last[0]:
            late_ms = max(received_at_ms - last[1], 0)
            self._counters.add(source, _NAMES[bisect_left(BOUNDS_MS, late_ms)])
            if late_ms >= wait_ms:
                self._counters.add(source, "too_late")
            return
        if len(self._recent) >= _MOST_PEOPLE:
            self._recent, self._older = {}, self._recent
        self._recent[person] = (happened_at_ms, received_at_ms)
