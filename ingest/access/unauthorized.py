"""Unauthorized requests: those without the write key or the signature of a source, counted, and logged summed up."""

from __future__ import annotations

from typing import Final

from ingest.counters import Counters
from logs import events as log

NO_SOURCE: Final = ""  # in place of the name of a source, in the totals
# Of a longer key the log has the last characters, to find the sender that uses it; a shorter one may be a name.
_LONG, _SHOWN = 12, 4


class Unauthorized:
    """Counts the unauthorized requests."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def add(self, key: object) -> None:
        """Count a request. `key` is its write key, or the name of a source without the right signature."""
        self._counters.add(NO_SOURCE, "unauthorized")
        ending = key[-_SHOWN:] if isinstance(key, str) and len(key) > _LONG else None
        log.REQUESTS_UNAUTHORIZED.write(kind="wrong key" if key else "no key", key_ends_in=ending)
