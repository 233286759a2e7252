"""How late events come: for each source, how many were received after a later event of the same person, and by how
much. These are the figures from which `reorder_ms` is chosen.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from ingest.counters import Counters
from mapping.envelope import JsonObject

# Upper bounds of the histogram, ms. The last bucket has none.
BOUNDS_MS: Final = (25, 100, 300, 1_000, 2_000, 5_000, 10_000)
BUCKETS: Final = (*map(str, BOUNDS_MS), "more")
_MOST_IDS: Final = 100_000

_Moment = tuple[int, int]


class Lateness:
    """Counts late events. Remembers the last event of the 100,000 to 200,000 ids that were seen last.

    It remembers the hash of an id, because an id may have the length of an event.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        # By source and id: when their last event happened, and its receipt.
        self._recent: defaultdict[str, dict[int, _Moment]] = defaultdict(dict)
        self._older: defaultdict[str, dict[int, _Moment]] = defaultdict(dict)

    def note(
        self, source: str, events: Iterable[JsonObject], times: Iterable[int], received_at_ms: int, wait_ms: int
    ) -> None:
        """Count the late events of a request; `times` has when each happened (Unix ms).

        An event is late that was received after an event that has one of its ids and happened later.
        """
        recent, older = self._recent[source], self._older[source]
        for event, happened_at_ms in zip(events, times, strict=True):
            late_ms, moment = -1, (happened_at_ms, received_at_ms)
            for member in ("userId", "anonymousId"):
                identity = event.get(member)
                if not identity:
                    continue
                person = hash(identity if type(identity) is str else str(identity))
                last = recent.get(person) or older.get(person)
                if last is None or happened_at_ms >= last[0]:
                    recent[person] = moment
                else:
                    late_ms = max(late_ms, received_at_ms - last[1], 0)
            if late_ms >= 0:
                self._count(source, late_ms, wait_ms)
        if sum(map(len, self._recent.values())) >= _MOST_IDS:
            self._recent, self._older = defaultdict(dict), self._recent

    def _count(self, source: str, late_ms: int, wait_ms: int) -> None:
        self._counters.add(source, f"late_{BUCKETS[bisect_left(BOUNDS_MS, late_ms)]}")
        if late_ms >= wait_ms:
            self._counters.add(source, "too_late")
