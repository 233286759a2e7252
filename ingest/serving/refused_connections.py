"""Refused connections: counted by cause and address. One line of the log is for many, so no client fills the log."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Final

log = logging.getLogger(__name__)

INTERVAL_S: Final = 10.0
_MOST_ADDRESSES: Final = 1000


class RefusedConnections:
    """The connections that were refused or closed early since the last line of the log."""

    def __init__(self) -> None:
        self._causes: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()

    def add(self, cause: str, address: str) -> None:
        """Count a connection; log it with all others of the next INTERVAL_S."""
        if not self._causes:
            asyncio.get_running_loop().call_later(INTERVAL_S, self.write)
        self._causes[cause] += 1
        if address in self._addresses or len(self._addresses) < _MOST_ADDRESSES:
            self._addresses[address] += 1

    def write(self) -> None:
        """Log the counts and begin anew."""
        if not self._causes:
            return
        causes = ", ".join(f"{count} {cause}" for cause, count in self._causes.most_common())
        [(address, count)] = self._addresses.most_common(1)
        log.warning("refused connections within %.0f s: %s; most from %s (%d)", INTERVAL_S, causes, address, count)
        self._causes.clear()
        self._addresses.clear()
