"""Refused connections: counted by cause and address. One line of the log is for many, so no client fills the log."""

from __future__ import annotations

import asyncio
from collections import Counter
from ipaddress import ip_address, ip_network
from typing import Final

from logs import events as log

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
        log.CONNECTIONS_REFUSED.write(causes=causes, network=_network(address), of_network=count)
        self._causes.clear()
        self._addresses.clear()


def _network(address: str) -> str | None:
    """Return the network of an address, 24 bits or 48 of IPv6: an address alone is personal data."""
    try:
        bits = 24 if ip_address(address).version == 4 else 48
        return str(ip_network(f"{address}/{bits}", strict=False))
    except ValueError:
        return None
