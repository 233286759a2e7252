"""Unauthorized requests: those without the write key or the signature of a source, counted, and logged summed up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from ingest.counters import Counters

log = logging.getLogger(__name__)

REPORT_S: Final = 10.0  # at most one line in the log in this time
NO_SOURCE: Final = ""  # in place of the name of a source, in the totals
_SHOWN: Final = 4  # characters of a key


class Unauthorized:
    """The unauthorized requests since the last report. `clock` is in seconds."""

    def __init__(self, counters: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self._counters = counters
        self._clock = clock
        self._reported: float | None = None
        self._count = 0
        self._last = ""

    def add(self, key: object) -> None:
        """Count a request. `key` is its write key, or the name of a source without the right signature."""
        self._counters.add(NO_SOURCE, "unauthorized")
        self._count += 1
        self._last = key[-_SHOWN:] if isinstance(key, str) else ""

    def report(self) -> None:
        """Write one line to the log if there were such requests, and the last line is REPORT_S old."""
        now = self._clock()
        if self._count and (self._reported is None or now - self._reported >= REPORT_S):
            last = f"the last one had a key that ends in {self._last!r}" if self._last else "the last one had no key"
            log.warning("requests without the key or the signature of a source: %s; %s", f"{self._count:,}", last)
            self._count, self._reported = 0, now
