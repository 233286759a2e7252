"""The rate at which history is sent: at most the one of the operator, and less while the endpoint is busy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LEAST: Final = 1 / 32  # of the rate
_RECOVERY_S: Final = 30.0  # from the least rate to the whole one


class Pace:
    """Spaces the requests. `clock` returns seconds."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._share = 1.0
        self._free_at = clock()
        self._changed_at = clock()

    @property
    def rate(self) -> float:
        """The present rate in events/s."""
        return self._rate * self._share

    def take(self, events: int) -> float:
        """Count the events of a request; return the seconds to wait before it is sent."""
        now = self._clock()
        self._share = min(1.0, self._share + (now - self._changed_at) / _RECOVERY_S)
        self._changed_at = now
        starts_at = max(self._free_at, now)
        self._free_at = starts_at + events / self.rate
        return starts_at - now

    def slow_down(self) -> None:
        """Halve the rate. It recovers within 30 s."""
        self._share = max(LEAST, self._share / 2)
        self._changed_at = self._clock()
