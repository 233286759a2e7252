"""Repeated lines are summed up: one line each INTERVAL_S for a cause, with the number of its repetitions.

The first line of a cause is written at once. A cause is an event of the log with the values of some of its fields.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final

INTERVAL_S: Final = 10.0
MOST_CAUSES: Final = 500  # beyond it, new causes of an event are summed up together

Fields = Mapping[str, Any]
Write = Callable[[Fields], None]


@dataclass(slots=True)
class _Repeated:
    write: Write
    written_at: float = -inf
    count: int = 0
    fields: Fields | None = None  # of the last repetition

    def take(self, now: float) -> Fields | None:
        """Return the fields of a line that is due, and begin anew."""
        if self.fields is None or not self.is_over(now):
            return None
        line = {**self.fields, "count": self.count}
        self.written_at, self.count, self.fields = now, 0, None
        return line

    def is_over(self, now: float) -> bool:
        """Whether the interval of the last line is over."""
        return now - self.written_at >= INTERVAL_S


class Repeats:
    """The causes of the last seconds. Threads may share it. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._causes: dict[tuple[str, ...], _Repeated] = {}
        self._changing = threading.Lock()

    def add(self, write: Write, name: str, cause: Mapping[str, Hashable], fields: Fields, count: int = 1) -> None:
        """Write the fields with `count`, or add the count to the next line of the cause.

        `name` is that of the event. `cause` are the fields that tell its causes apart; their values are `others` when
        there are too many causes.
        """
        now = self._clock()
        with self._changing:
            key = (name, *map(str, cause.values()))
            if key not in self._causes and len(self._causes) >= MOST_CAUSES:
                key, fields = (name,), {**fields, **dict.fromkeys(cause, "others")}
            repeated = self._causes.setdefault(key, _Repeated(write))
            repeated.count += count
            repeated.fields = fields
            line = repeated.take(now)
        if line is not None:
            write(line)

    def flush(self, *, all_at_once: bool = False) -> None:
        """Write the causes whose last line is INTERVAL_S old, or all; forget those without a repetition since then."""
        now = self._clock() if not all_at_once else inf
        with self._changing:
            lines = [(repeated.write, repeated.take(now)) for repeated in self._causes.values()]
            self._causes = {key: repeated for key, repeated in self._causes.items() if not repeated.is_over(now)}
        for write, line in lines:
            if line is not None:
                write(line)
