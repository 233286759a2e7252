"""How far a transfer is, on stderr: one line that changes on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final, Self, TextIO

_EVERY_S: Final = (0.2, 10.0)  # on a terminal, elsewhere
_CLEAR: Final = "\r\x1b[K"


class Progress:
    """Writes the progress of one run of the command. `clock` returns seconds."""

    def __init__(self, stream: TextIO = sys.stderr, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._is_terminal = stream.isatty()
        self._written_at = clock()
        self._began: tuple[float, int] | None = None  # when the first event of this run was sent, and how many were

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_terminal:
            self._stream.write(_CLEAR)

    def read(self, records: int) -> None:
        """Report the number of records that were read and sorted."""
        if self._is_due():
            self._write(f"read {records:,} records")

    def sent(self, acknowledged: int, total: int, rate: float) -> None:
        """Report the number of events that were acknowledged. `rate` is the present one in events/s."""
        self._began = self._began or (self._clock(), acknowledged)
        if self._is_due():
            left_s = self._left_s(acknowledged, total, rate)
            percent = 100 * acknowledged // total
            self._write(
                f"sent {acknowledged:,} of {total:,} events ({percent} %), {rate:,.0f}/s, {duration(left_s)} left"
            )

    def _left_s(self, acknowledged: int, total: int, rate: float) -> float:
        """Estimate the rest by what this run has measured, and by the rate until then."""
        began_at, before = self._began or (0.0, 0)
        measured = (acknowledged - before) / max(self._clock() - began_at, 0.001)
        return (total - acknowledged) / (measured or rate)

    def _is_due(self) -> bool:
        now = self._clock()
        if now - self._written_at < _EVERY_S[not self._is_terminal]:
            return False
        self._written_at = now
        return True

    def _write(self, text: str) -> None:
        self._stream.write(f"{_CLEAR}{text}" if self._is_terminal else f"{text}\n")
        self._stream.flush()


def duration(seconds: float) -> str:
    """Return a duration as `45 s`, `12 min`, `3 h 20 min` or `2 d 4 h`."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
