"""The tap of one process: whether it is watched, which events it copies, and the copies that are not in Redis yet.

What is copied is bounded by time: EVENTS_PER_S events and REFUSALS_PER_S refusals a second, of each process. Accepted
events are chosen by their sequence, so that ingest and workers copy the same ones.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

EVENTS_PER_S: Final = 15
REFUSALS_PER_S: Final = 5
MOST_BYTES: Final = 8192  # of an event as it is stored, and of its requests; what is longer is not copied with it
_MOST_COPIES: Final = 500

T = TypeVar("T")


class Copy(NamedTuple):
    """What a process copied of an event."""

    facts: Mapping[str, Any]  # JSON
    event: bytes = b""  # as `mapping.envelope.pack` returns it, of a refused event its JSON; empty: it is too long
    requests: bytes = b""  # a JSON array of the items as sent; empty: there are none, or they are too long


class Tap:
    """The tap of one process. Its threads share it. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_watched = False  # all that is asked while nothing is copied
        self._every = 1
        self._events, self._refusals = _Budget(EVENTS_PER_S, clock), _Budget(REFUSALS_PER_S, clock)
        self._copies: deque[Copy] = deque(maxlen=_MOST_COPIES)

    def watch(self, every: int | None) -> None:
        """Copy one event in `every` from now on; with None copy nothing, and forget what was copied."""
        self._every = every or 1
        self.is_watched = every is not None
        if every is None:
            self._copies.clear()

    def chosen(self, events: Iterable[T], sequences: Iterable[int | None]) -> list[T]:
        """Return the events to copy: by their sequences, which are in the same order. One without a sequence is chosen
        by chance. When as many were copied as may be in a second, no event is looked at."""
        if not self._events.has_any():
            return []
        every = self._every
        found = [
            event
            for event, sequence in zip(events, sequences, strict=True)
            if not (random.randrange(every) if sequence is None else sequence % every)
        ]
        return found[: self._events.take(len(found))]

    def can_copy_refusal(self) -> bool:
        """Whether a refusal may be copied now; if so, it counts as copied."""
        return self._refusals.take(1) == 1

    def add(self, facts: Mapping[str, Any], event: bytes = b"", requests: bytes = b"") -> None:
        """Add a copy."""
        self._copies.append(Copy(facts, _short(event), _short(requests)))

    def taken(self) -> list[Copy]:
        """Return the copies that were added since the last call."""
        found = []
        while self._copies:
            found.append(self._copies.popleft())
        return found


class _Budget:
    """So many copies a second. What is not used in a second is not kept."""

    def __init__(self, per_s: int, clock: Callable[[], float]) -> None:
        self._per_s = per_s
        self._clock = clock
        self._second = 0
        self._left = 0
        self._lock = threading.Lock()

    def has_any(self) -> bool:
        """Whether anything is left of this second."""
        return self._left > 0 or int(self._clock()) != self._second

    def take(self, wanted: int) -> int:
        """Take so many, or what is left; return how many."""
        with self._lock:
            second = int(self._clock())
            if second != self._second:
                self._second, self._left = second, self._per_s
            taken = min(wanted, self._left)
            self._left -= taken
            return taken


def _short(content: bytes) -> bytes:
    return content if len(content) <= MOST_BYTES else b""
