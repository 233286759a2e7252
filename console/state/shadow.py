"""Which events a destination sends, for the screens of its state."""

from __future__ import annotations

import mapping
from console.output import utc


def describe(destination: mapping.Destination) -> str | None:
    """Return which events are sent; None: all."""
    cutover = destination.cutover
    if cutover is None:
        return None
    if not cutover.is_set:
        return "shadow mode: nothing is sent"
    return f"sends the events whose {cutover.by} is {utc(int(cutover.at_ms))} or later; the others are shadow events"
