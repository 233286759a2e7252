"""A row: the figures of a destination at one moment, as they are stored.

A row is a list of numbers of eight bytes, in the order of FIGURES. New figures are added at the end: they are 0 in
older rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import iter_unpack, pack
from typing import Final

from metrics.registry import DELIVERY_LATENCY

Row = dict[str, float]  # figure → value

AT: Final = "at_s"  # Unix seconds of Redis' clock
# Since the queue was created. `sent` to `buried` are fates; the others are of the queue.
TOTALS: Final = (
    *("accepted", "duplicates", "reordered", "sent", "filtered", "unmatched", "dropped", "forgotten", "buried"),
)
RESPONSES: Final = ("2xx", "3xx", "4xx", "429", "5xx", "none")  # totals: requests by response; none: without one
# Totals: events by latency, one for each bucket of the metric, the last one without a bound.
LATENCY_BOUNDS_S: Final = tuple(map(float, DELIVERY_LATENCY.bounds))
LATENCIES: Final = tuple(f"latency_{index}" for index in range(len(LATENCY_BOUNDS_S) + 1))
GAUGES: Final = (
    *("waiting", "ready", "delayed", "claimed", "blocked", "blocking", "dead", "oldest_age_s"),
    *("requests_per_s", "limit_per_s", "is_stopped", "workers"),
)
FIGURES: Final = (AT, *TOTALS, *RESPONSES, *LATENCIES, *GAUGES)


def packed(row: Row) -> bytes:
    """Return the row as it is stored."""
    return pack(f"<{len(FIGURES)}d", *(row[figure] for figure in FIGURES))


def unpacked(stored: bytes) -> Row:
    """Return a stored row."""
    values = (value for (value,) in iter_unpack("<d", stored))
    return dict.fromkeys(FIGURES, 0.0) | dict(zip(FIGURES, values, strict=False))


def merged(row: Row, covered: Iterable[Row]) -> Row:
    """Return the row of a longer time: the latest totals, and the greatest value that each gauge had."""
    rows = [row, *covered]
    return row | {gauge: max(each[gauge] for each in rows) for gauge in GAUGES}
