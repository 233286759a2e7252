"""What rows say: rates between two rows, percentiles of the latency, and the gauges of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from lanes import Queue
from series.row import AT, GAUGES, LATENCIES, LATENCY_BOUNDS_S, RESPONSES, TOTALS, Row
from series.sampling import FINE, RESOLUTIONS, Resolution, rows

PERCENTILES: Final = (0.5, 0.95, 0.99)
# Rows that are further apart than so many steps have no rate between them: no worker wrote meanwhile.
_GAP = 3


@dataclass(frozen=True, slots=True)
class Point:
    """The figures of the time between two rows, and the gauges at its end."""

    at_s: float
    seconds: float
    per_s: dict[str, float]  # by total: events, or requests by response
    latency_s: tuple[float | None, ...]  # by percentile; None: nothing was delivered
    gauges: dict[str, float]

    def json(self) -> dict[str, Any]:
        """Return `{"at_s", "seconds", "per_s": {…}, "latency_s": {"p50", "p95", "p99"}, …gauges}`."""
        names = [f"p{share * 100:g}" for share in PERCENTILES]
        latency = dict(zip(names, self.latency_s, strict=True))
        return {"at_s": self.at_s, "seconds": self.seconds, "per_s": self.per_s, "latency_s": latency, **self.gauges}


def points(queue: Queue, seconds: int) -> list[Point]:
    """Return the points of the last `seconds`, the oldest first, in the finest resolution that goes back so far."""
    resolution = next((each for each in RESOLUTIONS if each.seconds >= seconds), RESOLUTIONS[-1])
    return list(_between(rows(queue, resolution, seconds // resolution.step_s + 1), resolution))


def latest(queue: Queue) -> Point | None:
    """Return the last point; None before there are two rows."""
    return next(_between(rows(queue, FINE, 2), FINE), None)


def _between(found: Sequence[Row], resolution: Resolution) -> Iterator[Point]:
    for before, after in pairwise(found):
        seconds = after[AT] - before[AT]
        is_restarted = any(after[total] < before[total] for total in (*TOTALS, *RESPONSES))
        if 0 < seconds <= _GAP * resolution.step_s and not is_restarted:
            yield Point(
                at_s=after[AT],
                seconds=seconds,
                per_s={total: (after[total] - before[total]) / seconds for total in (*TOTALS, *RESPONSES)},
                latency_s=_percentiles([after[bucket] - before[bucket] for bucket in LATENCIES]),
                gauges={gauge: after[gauge] for gauge in GAUGES},
            )


def _percentiles(counts: Sequence[float]) -> tuple[float | None, ...]:
    """Return the latencies that these shares do not exceed, evenly between the bounds of their buckets."""
    return tuple(_percentile(counts, share) for share in PERCENTILES)


def _percentile(counts: Sequence[float], share: float) -> float | None:
    wanted = sum(counts) * share
    if not wanted:
        return None
    below, lower = 0.0, 0.0
    for count, upper in zip(counts, LATENCY_BOUNDS_S, strict=False):
        if below + count >= wanted:
            return lower + (upper - lower) * (wanted - below) / count
        below, lower = below + count, upper
    return LATENCY_BOUNDS_S[-1]
