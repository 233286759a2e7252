"""Clocks of devices: the time of an event by the server's clock.

Segment corrects a device's clock by `receivedAt - (sentAt - originalTimestamp)` (segmentio/segment-docs,
src/connections/spec/common.md, "Timestamps"). That takes the time between `sentAt` and the receipt for an error of the
clock. A request that was sent again with its first `sentAt` is late for another reason, so the rule here is narrower:

- A `sentAt` later than the receipt is an error of the clock: no request arrives before it was sent.
- A `sentAt` up to MAX_DELAY before the receipt is a late request. An earlier one is an error of the clock, such as a
  wrong zone.
- An event that is older than its `sentAt` by HISTORY or more is history: its time is not that of the device.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import floor
from typing import Final

TOLERANCE: Final = timedelta(seconds=2)  # two right clocks may differ by this
MAX_DELAY: Final = timedelta(hours=1)
HISTORY: Final = timedelta(days=7)
_EARLIEST: Final = -TOLERANCE


def corrected(happened_at: datetime, sent_at: datetime, received_at: datetime) -> datetime:
    """Return the time by the server's clock; `happened_at` itself where the client's clock is right.

    It is moved by whole seconds: requests of one device then move their events equally, although their durations
    differ, and keep their order.
    """
    late = received_at - sent_at
    if _EARLIEST <= late <= MAX_DELAY or sent_at - happened_at >= HISTORY:
        return happened_at
    try:
        return happened_at + timedelta(seconds=floor(late.total_seconds()))
    except OverflowError:
        return happened_at


def is_future(time: datetime, received_at: datetime) -> bool:
    """Whether a time is later than the receipt, by more than two right clocks may differ."""
    return time > received_at and time - received_at > TOLERANCE
