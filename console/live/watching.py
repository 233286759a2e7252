"""Watching the taps: which share of the events is copied, and keeping the copies going."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from console.session import Session
from lanes.taps import streams
from lanes.taps.tap import EVENTS_PER_S
from series import reading


@dataclass(frozen=True, slots=True)
class Share:
    """One event in `every` is copied, of `per_s` a second; 0: it is not known yet how many pass."""

    every: int
    per_s: float

    def json(self) -> dict[str, Any]:
        """Return `{"every", "per_s", "most_per_s"}`; `most_per_s`: what a process copies at most."""
        return {**asdict(self), "most_per_s": EVENTS_PER_S}


def watch(session: Session) -> Share:
    """Have the processes copy for some seconds from now on. Raises redis.RedisError."""
    points = [reading.latest(queue) for queue in session.queues(session.destinations)]
    per_s = sum(max(_accepted(point), _finished(point)) for point in points if point is not None)
    share = Share(every_of(per_s), per_s)
    streams.watch(session.client, share.every)
    return share


def every_of(per_s: float) -> int:
    """Return the power of two such that one event in so many is not more than the taps take. Events that are chosen for
    one power are chosen for each smaller one as well, so a change of the rate parts few copies."""
    every = 1
    while per_s / every > EVENTS_PER_S:
        every *= 2
    return every


def _accepted(point: reading.Point) -> float:
    return point.per_s["accepted"] + point.per_s["duplicates"]


def _finished(point: reading.Point) -> float:
    return sum(point.per_s[fate] for fate in ("sent", "filtered", "unmatched", "dropped", "buried"))
