"""Which events a destination sends, for the screens of its state."""

from __future__ import annotations

import math

import mapping
from console.output import utc


def describe(destination: mapping.Destination) -> str | None:
    """Return which events are sent; None: all."""
    cutover = destination.cutover
    if cutover is None:
        return None
    if not cutover.sends:
        return "shadow mode: nothing is sent"
    end = f", and before {moment(int(cutover.until_ms))}" if math.isfinite(cutover.until_ms) else ""
    first = moment(int(cutover.at_ms))
    return f"sends the events whose {cutover.by} is {first} or later{end}; the others are shadow events"


def moment(ms: int) -> str:
    """Return a time in Unix milliseconds as `2026-12-01 10:00:00Z`, with its milliseconds when it has some."""
    return f"{utc(ms)[:-1]}.{ms % 1000:03d}Z" if ms % 1000 else utc(ms)
