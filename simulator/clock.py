"""The time of the simulated service: the machine's, moved on by hand; once virtual, by hand only."""

from __future__ import annotations

import time


class Clock:
    """Tells Unix seconds."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._stopped_at: float | None = None

    def now(self) -> float:
        return (time.time() if self._stopped_at is None else self._stopped_at) + self._ahead_s

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds

    def set_virtual(self, virtual: bool) -> None:
        """Stop at the present moment, or go on from there with the machine's time."""
        now = self.now()
        self._stopped_at = now if virtual else None
        self._ahead_s = 0.0 if virtual else now - time.time()
