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
    end = f", and before {utc(int(cutover.until_ms))}" if math.isfinite(cutover.until_ms) else ""
    first = utc(int(cutover.at_ms))
    return f"sends the events whose {cutover.by} is {first} or later{end}; the others are shadow events"
