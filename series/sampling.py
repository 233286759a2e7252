"""Writing rows: each 10 s one of the workers reads the figures of a destination and keeps them.

The finer row that is due first also gives the coarser ones, so nothing else is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

import lanes
from delivery import admission, overrides
from lanes import Queue, keys
from series.row import AT, LATENCIES, RESPONSES, Row, merged, packed, unpacked


@dataclass(frozen=True, slots=True)
class Resolution:
    """The rows of one list: a row each `step_s` seconds, `most` in all."""

    name: str
    step_s: int
    most: int

    @property
    def seconds(self) -> int:
        """How far back the rows go."""
        return self.step_s * self.most


FINE: Final = Resolution("10s", 10, 360)
RESOLUTIONS: Final = (FINE, Resolution("1m", 60, 1440), Resolution("10m", 600, 2016))
_UNSENT = ("filtered", "unmatched", "dropped", "forgotten")


def sample(queue: Queue, limit_per_s: float, count_workers: Callable[[], int]) -> None:
    """Write the row of this moment, unless a row was written less than 10 s ago."""
    lock_ms = FINE.step_s * 1000 - 500
    if not queue.client.set(keys.SAMPLED.of(queue.name), 1, nx=True, px=lock_ms):
        return
    row = _figures(queue, limit_per_s, count_workers())
    covered: list[Row] = []
    for resolution in RESOLUTIONS:
        if not _is_due(queue, resolution, row):
            return
        row = merged(row, covered)
        _push(queue, resolution, row)
        # The rows of which a row of the next list is the greatest: at most as many as are in one of its steps.
        covered = rows(queue, resolution, RESOLUTIONS[-1].step_s // resolution.step_s)


def rows(queue: Queue, resolution: Resolution, most: int | None = None) -> list[Row]:
    """Return the last rows, the oldest first; `most` of them, or all."""
    stored = queue.client.lrange(_key(queue, resolution), 0, (most or resolution.most) - 1)
    return [unpacked(each) for each in reversed(cast(list[bytes], stored))]


def _is_due(queue: Queue, resolution: Resolution, row: Row) -> bool:
    if resolution is FINE:
        return True
    newest = rows(queue, resolution, 1)
    return not newest or row[AT] - newest[0][AT] >= resolution.step_s


def _push(queue: Queue, resolution: Resolution, row: Row) -> None:
    key = _key(queue, resolution)
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.lpush(key, packed(row))
        pipeline.ltrim(key, 0, resolution.most - 1)
        pipeline.expire(key, resolution.seconds)
        pipeline.execute()


def _figures(queue: Queue, limit_per_s: float, workers: int) -> Row:
    stats, state, by_hand = lanes.stats(queue), admission.read(queue), overrides.read(queue)
    limit = by_hand.rate.requests_per_s if by_hand.rate else limit_per_s
    unsent = dict.fromkeys(_UNSENT, 0.0)
    for count in lanes.fate_totals(queue):
        if count.fate in unsent:
            unsent[count.fate] += count.events
    stored = cast(dict[bytes, bytes], queue.client.hgetall(keys.COUNTS.of(queue.name)))
    counted = {figure.decode(): float(count) for figure, count in stored.items()}
    return {
        AT: state.now_ms / 1000,
        "accepted": stats.accepted_total,
        "duplicates": stats.duplicates_total,
        "reordered": stats.reordered_total,
        "sent": stats.delivered_total,
        **unsent,
        "buried": stats.buried_total,
        **{figure: counted.get(figure, 0.0) for figure in (*RESPONSES, *LATENCIES)},
        "waiting": stats.waiting,
        "ready": stats.ready,
        "delayed": stats.delayed,
        "claimed": stats.claimed,
        "blocked": stats.blocked,
        "blocking": stats.blocking,
        "dead": stats.dead,
        "oldest_age_s": stats.oldest_age_s,
        "requests_per_s": state.rate(limit),
        "limit_per_s": limit,
        "is_stopped": state.paused or state.breaker == "open" or by_hand.pause is not None,
        "workers": workers,
    }


def _key(queue: Queue, resolution: Resolution) -> str:
    return keys.SAMPLES.of(queue.name, resolution.name)
