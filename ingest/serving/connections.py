"""The connections of one process: how many there are, and how long each has waited for its client.

A connection that waits for its client is in one phase. It is between two requests, in the head or in the body of a
request, or closing. Or it has a response that the client does not read. Each phase has a deadline. When there are too
many connections, or too many bytes of unfinished requests, the connection that has waited longest is closed. So clients
that send their requests at once are served, whatever others leave unfinished.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from typing import Final, Protocol

from ingest.errors import Refusal
from ingest.serving.limits import Limits, ip_of
from ingest.serving.refused_connections import RefusedConnections

TOO_MANY: Final = Refusal(503, "too many connections", retry_after_s=5, code="too_many_connections")
TOO_MANY_BYTES: Final = Refusal(503, "too many unfinished requests", retry_after_s=5, code="too_many_unfinished")
# Requests that a client sends without waiting for responses are parsed in pieces: each takes some memory.
PIECE_BYTES: Final = 16 * 1024
_SMALL_PIECE_BYTES: Final = 1024
_SWEEP_S: Final = 0.5
_CLOSING_S: Final = 5.0
_SLOW_S: Final = 1.0  # a part of a request that takes longer is closed before idle connections are


class Connection(Protocol):
    """What this module needs of a connection."""

    def expire(self) -> None:
        """End the wait: the deadline of the phase is over."""

    def evict(self, refusal: Refusal) -> None:
        """Close the connection, which waits for its client, in favour of others."""


class Phase:
    """The connections that wait for the same, the longest wait first. `refusal` is the response after `limit_s`."""

    __slots__ = ("_since", "limit_s", "refusal")

    def __init__(self, limit_s: float, refusal: Refusal | None = None) -> None:
        self.limit_s = limit_s
        self.refusal = refusal
        self._since: OrderedDict[Connection, float] = OrderedDict()

    def add(self, connection: Connection, now: float) -> None:
        """Let the connection wait from now on."""
        self._since[connection] = now

    def remove(self, connection: Connection) -> None:
        """End the wait of the connection."""
        del self._since[connection]

    def oldest(self, until: float) -> Connection | None:
        """Return the connection that has waited longest, if it began to wait before `until`."""
        for connection, since in self._since.items():
            return connection if since <= until else None
        return None


class Connections:
    """The connections of one process and their limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.idle = Phase(limits.idle_s)
        self.head = Phase(limits.head_s, _late("head", limits.head_s))
        self.body = Phase(limits.body_s, _late("body", limits.body_s))
        self.unread = Phase(limits.body_s)
        self.closing = Phase(_CLOSING_S)
        self.refused = RefusedConnections()
        self.request_bytes = limits.request_bytes
        self._addresses: dict[Connection, str] = {}
        self._of_address: Counter[str] = Counter()
        self._unfinished_bytes = 0
        self._queued_requests = 0
        self.piece_bytes = PIECE_BYTES  # that a connection parses at once
        self._timer: asyncio.TimerHandle | None = None

    def __reduce__(self) -> tuple[type[Connections], tuple[Limits]]:
        """Hand the limits to another process, which has connections of its own."""
        return Connections, (self._limits,)

    def accept(self, connection: Connection, address: str) -> Refusal | None:
        """Count a new connection; return the refusal if it must be closed. `address` is that of the peer, or empty.

        One connection too many closes another one that waits for its client, if there is one.
        """
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)
        network = _network(address)
        if self._of_address[network] >= self._limits.connections_per_address and not self._limits.is_proxy(address):
            return TOO_MANY
        if len(self._addresses) >= self._limits.connections:
            waiting = self._slow() or self.idle.oldest(_now())
            if waiting is None:
                return TOO_MANY
            waiting.evict(TOO_MANY)
        self._addresses[connection] = network
        self._of_address[network] += 1
        return None

    def forget(self, connection: Connection) -> None:
        """Do not count the connection any more; it is closed, or about to be."""
        network = self._addresses.pop(connection, None)
        if network is not None:
            self._of_address[network] -= 1
            if not self._of_address[network]:
                del self._of_address[network]

    def keep(self, size: int) -> None:
        """Count bytes of an unfinished request; with a negative size, bytes of a request that has ended."""
        self._unfinished_bytes += size
        while self._unfinished_bytes > self._limits.unfinished_bytes:
            waiting = self.body.oldest(_now()) or self.head.oldest(_now())
            if waiting is None:
                return
            waiting.evict(TOO_MANY_BYTES)

    def queue(self, requests: int) -> bool:
        """Count requests that wait for the response to the one before. Return whether there are too many.

        Then pieces are small, so that no connection adds many before it is refused.
        """
        self._queued_requests += requests
        are_too_many = self._queued_requests > self._limits.queued_requests
        self.piece_bytes = _SMALL_PIECE_BYTES if are_too_many else PIECE_BYTES
        return are_too_many

    def _slow(self) -> Connection | None:
        until = _now() - _SLOW_S
        return self.head.oldest(until) or self.body.oldest(until) or self.unread.oldest(until)

    def _sweep(self) -> None:
        """End the waits whose deadline is over; do so again, as long as there are connections."""
        now = _now()
        for phase in (self.idle, self.head, self.body, self.unread, self.closing):
            while connection := phase.oldest(now - phase.limit_s):
                connection.expire()
        is_needed = self._addresses or self.closing.oldest(now)
        self._timer = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep) if is_needed else None


def _late(part: str, limit_s: float) -> Refusal:
    return Refusal(408, f"the {part} of the request was not complete after {limit_s:g} s", code=f"{part}_timeout")


def _network(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 of an IPv6 address, which one client may have."""
    if ":" not in address:
        return address
    ip = ip_of(address)
    return str(ip) if ip.version == 4 else ":".join(ip.exploded.split(":")[:4])


def _now() -> float:
    return asyncio.get_running_loop().time()
