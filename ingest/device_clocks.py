"""Clocks of devices: the time of an event by the server's clock.

Segment corrects a device's clock by `receivedAt - (sentAt - originalTimestamp)` (segmentio/segment-docs,
src/connections/spec/common.md, "Timestamps"). That takes the time between `sentAt` and the receipt for an error of the
clock. A request that was sent again with its first `sentAt` is late for another reason, so the rule here is narrower:

- A `sentAt` after the receipt is an error of the clock: no request arrives before it was sent.
- A `sentAt` before the receipt is a late request, if the clock of the client was right before. It is an error of the
  clock, if another request of the client was as late, and was sent APART from it.
- Of an unknown client, a `sentAt` up to MAX_DELAY before the receipt is a late request. An earlier one is an error of
  the clock, such as a wrong zone.
- An event that is older than its `sentAt` by HISTORY or more is history: its time is not that of the device.
- An event that is later than its `sentAt` shows two clocks, or a `sentAt` that was never set, such as 1970.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import floor
from typing import Final, NamedTuple

TOLERANCE: Final = timedelta(seconds=2)  # two right clocks may differ by this, and two requests in their durations
APART: Final = timedelta(seconds=5)
MAX_DELAY: Final = timedelta(hours=1)
HISTORY: Final = timedelta(days=7)

_MAX_CLIENTS: Final = 50_000
_EARLIEST: Final = -TOLERANCE
_RIGHT: Final = timedelta(0)


class _Clock(NamedTuple):
    """What the requests of one client have shown: how late one was, and the error of the clock, None if not known."""

    sent_at: datetime
    late: timedelta
    error: timedelta | None


class DeviceClocks:
    """The clocks of a source's clients, as this process knows them. When they are too many, all are forgotten.

    It remembers the hash of an id, because an id may have the length of an event.
    """

    def __init__(self, max_clients: int = _MAX_CLIENTS) -> None:
        self._known: dict[int, _Clock] = {}
        self._max_clients = max_clients

    def error(self, client: str | int | float, sent_at: datetime, received_at: datetime) -> timedelta:
        """Return how much a client's clock is behind, negative when it is ahead; note what its request shows of it."""
        late = received_at - sent_at
        hashed = hash(client)
        known = self._known.get(hashed)
        if known is not None and known.error is _RIGHT and late >= _EARLIEST:
            return _RIGHT
        if known is None and len(self._known) >= self._max_clients:
            self._known.clear()
        clock = self._known[hashed] = _judged(known, sent_at, late)
        if clock.error is None:
            return late if late > MAX_DELAY else _RIGHT
        return clock.error


def corrected(happened_at: datetime, sent_at: datetime, error: timedelta) -> datetime:
    """Return the time by the server's clock; `happened_at` itself where the client's clock is right.

    It is moved by whole seconds: the processes of an endpoint then mostly agree on a client, and its events keep their
    order.
    """
    if not error or sent_at - happened_at >= HISTORY:
        return happened_at
    try:
        return happened_at + timedelta(seconds=floor(error.total_seconds()))
    except OverflowError:
        return happened_at


def is_of_one_clock(happened_at: datetime, sent_at: datetime) -> bool:
    """Whether one clock can have shown both times: an event is sent after it happened."""
    return happened_at - sent_at <= TOLERANCE


def is_future(time: datetime, received_at: datetime) -> bool:
    """Whether a time is later than the receipt, by more than two right clocks may differ."""
    return time - received_at > TOLERANCE


def _judged(known: _Clock | None, sent_at: datetime, late: timedelta) -> _Clock:
    if known is not None and known.error is not None:
        is_same = abs(late - known.error) <= TOLERANCE
        if is_same or _RIGHT <= known.error < late:  # else the clock was set since
            return known
    if late <= TOLERANCE:
        return _Clock(sent_at, late, _RIGHT if late >= _EARLIEST else late)
    if known is None or abs(late - known.late) > TOLERANCE:
        return _Clock(sent_at, late, None)
    if abs(sent_at - known.sent_at) < APART:
        return known
    return known._replace(error=min(late, known.late))
