"""The limits of connections: their number, their times, and the bytes of requests that are not complete."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from settings import Settings

MAX_HEAD_BYTES: Final = 64 * 1024  # of the request line and the headers
MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024  # as sent; what exceeds the limit of a body is read and discarded up to here
HEAD_S: Final = 10.0
BODY_S: Final = 30.0
MAX_UNFINISHED_BYTES: Final = 64 * 1024 * 1024  # of the unfinished requests of a process
MAX_QUEUED_REQUESTS: Final = 10_000  # of a process, that were sent before the response to the one before
RESERVED_FILES: Final = 64  # of a process, for everything but connections: Redis, the log, files that are read

_Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one process. Times are seconds.

    `proxies` are the networks whose addresses have no limit of their own: many clients come from one of them.
    """

    connections: int
    connections_per_address: int
    idle_s: float
    head_s: float = HEAD_S
    body_s: float = BODY_S
    request_bytes: int = MAX_REQUEST_BYTES
    unfinished_bytes: int = MAX_UNFINISHED_BYTES
    queued_requests: int = MAX_QUEUED_REQUESTS
    proxies: tuple[_Network, ...] = field(default=())

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits of the settings. The open files that this process may have bound the connections."""
        connections = max(1, min(settings.max_connections, open_files() - RESERVED_FILES))
        per_address = settings.max_connections_per_address or max(1, connections // 2)
        proxies = _networks(settings.trusted_proxies)
        return cls(connections, min(per_address, connections), settings.idle_s, proxies=proxies)

    def is_proxy(self, address: str) -> bool:
        """Whether the address is that of a proxy."""
        try:
            return any(ip_of(address) in network for network in self.proxies)
        except ValueError:
            return False

    def summary(self) -> str:
        """Return one line for the operator."""
        return (
            f"at most {self.connections:,} connections in each process, {self.connections_per_address:,} from one "
            f"address; {open_files():,} open files are allowed"
        )


def ip_of(address: str) -> IPv4Address | IPv6Address:
    """Return the IP address. That of an IPv4 client is the same where the server listens on IPv6. Raises ValueError."""
    ip = ip_address(address)
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def open_files() -> int:
    """Return the number of files that this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _networks(text: str) -> tuple[_Network, ...]:
    """Return the networks of SEGUE_TRUSTED_PROXIES: addresses and networks, or `*` for all."""
    if text == "*":
        return ip_network("0.0.0.0/0"), ip_network("::/0")
    return tuple(ip_network(part) for part in text.split(",") if part)
