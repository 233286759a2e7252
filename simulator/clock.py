"""The clock of the simulated service: the system clock plus an offset, or virtual, so that only a caller moves it."""

from __future__ import annotations

import time


class Clock:
    """A clock in Unix seconds."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._stopped_at: float | None = None

    def now(self) -> float:
        """Return the current time in Unix seconds."""
        return (time.time() if self._stopped_at is None else self._stopped_at) + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._ahead_s += seconds

    def set_virtual(self, virtual: bool) -> None:
        """Stop the clock at the current time, or let it run again from the time at which it stands."""
        now = self.now()
        self._stopped_at = now if virtual else None
        self._ahead_s = 0.0 if virtual else now - time.time()
