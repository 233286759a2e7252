"""The clocks of clients: what is added to a client's times, so that they can be compared with those of other clients.

The offset is the least difference between the receipt and `sentAt` that was seen of the client recently: a request
takes time, and a batch that is sent again has an old `sentAt`. Both only ever make the difference greater.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# A smaller difference is the duration of a request.
_MAX_DURATION_MS: Final = 2_000
# A clock that is off by more than this is not believed at all.
_MAX_OFFSET_MS: Final = 3_600_000
# A client's offset changes only when the client sent nothing for that long: none of its events waits any more, so none
# of them changes its place.
_QUIET_MS: Final = 10_000
_MOST_CLIENTS: Final = 50_000


@dataclass(slots=True)
class _Clock:
    offset_ms: int
    least_ms: int  # the least difference since the client was quiet
    seen_at_ms: int


class Clocks:
    """The clocks of the clients of this process. Only those that are off are remembered, 50,000 at most."""

    def __init__(self) -> None:
        self._clocks: dict[str, _Clock] = {}

    def offset_ms(self, client: str, sent_at_ms: int | None, received_at_ms: int) -> int | None:
        """Return what is added to the client's times; None when its clock is off by more than an hour."""
        clock = self._clocks.get(client)
        if sent_at_ms is None:
            offset_ms = clock.offset_ms if clock else 0
        elif clock is None:
            offset_ms = self._first(client, received_at_ms - sent_at_ms, received_at_ms)
        else:
            offset_ms = _next(clock, received_at_ms - sent_at_ms, received_at_ms)
        return offset_ms if abs(offset_ms) <= _MAX_OFFSET_MS else None

    def _first(self, client: str, difference_ms: int, received_at_ms: int) -> int:
        if abs(difference_ms) <= _MAX_DURATION_MS:
            return 0
        if len(self._clocks) >= _MOST_CLIENTS:
            self._clocks.pop(next(iter(self._clocks)))
        self._clocks[client] = _Clock(difference_ms, difference_ms, received_at_ms)
        return difference_ms


def _next(clock: _Clock, difference_ms: int, received_at_ms: int) -> int:
    if received_at_ms - clock.seen_at_ms > _QUIET_MS:
        least_ms = min(clock.least_ms, difference_ms)
        clock.offset_ms = least_ms if abs(least_ms) > _MAX_DURATION_MS else 0
        clock.least_ms = difference_ms
    clock.least_ms = min(clock.least_ms, difference_ms)
    clock.seen_at_ms = received_at_ms
    return clock.offset_ms
