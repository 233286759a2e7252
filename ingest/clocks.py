"""Clocks of devices: the time of an event by the server's clock.

Segment corrects a device's clock by `receivedAt - (sentAt - originalTimestamp)` (segmentio/segment-docs,
src/connections/spec/common.md, "Timestamps"). That takes the time between `sentAt` and the receipt for an error of the
clock. A request that was sent again with its first `sentAt` is late for another reason, so the rule here is narrower:

- A `sentAt` later than the receipt is an error of the clock: no request arrives before it was sent.
- A `sentAt` up to MAX_DELAY_S before the receipt is a late request. An earlier one is an error of the clock, such as a
  wrong zone.
- An event that is older than its `sentAt` by HISTORY_S or more is history: its time is not that of the device.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import floor
from typing import Final

# Two clocks that differ by less are the same; a time up to this long after the receipt is not corrected.
TOLERANCE_S: Final = 2.0
MAX_DELAY_S: Final = 3600.0
HISTORY_S: Final = 7 * 86_400.0

_TOLERANCE: Final = timedelta(seconds=TOLERANCE_S)


def corrected(happened_at: datetime, sent_at: datetime | None, received_at: datetime) -> datetime:
    """Return the time by the server's clock; `happened_at` itself where the client's clock is right.

    It is moved by whole seconds: requests of one device then move their events equally, although their durations
    differ, and keep their order.
    """
    if sent_at is None:
        return happened_at
    late_s = (received_at - sent_at).total_seconds()
    if -TOLERANCE_S <= late_s <= MAX_DELAY_S or (sent_at - happened_at).total_seconds() >= HISTORY_S:
        return happened_at
    try:
        return happened_at + timedelta(seconds=floor(late_s))
    except OverflowError:
        return happened_at


def is_future(time: datetime, received_at: datetime) -> bool:
    """Whether a time is later than the receipt, by more than two right clocks may differ."""
    return time - received_at > _TOLERANCE
