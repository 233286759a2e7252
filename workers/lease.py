"""The lease of a claim: the time for which its events are ours, counted on the safe side.

A lease is short, so that the events of a worker that crashed wait for a short time. A request may take longer. While
one is in progress, a thread of the process extends the lease, for the time that a request can take and no longer. The
lease of a thread that hangs elsewhere ends, and a process that is stopped extends nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis
from redis.exceptions import RedisError

import lanes
from logs import events as log
from logs.causes import cause

# How often a lease is extended while a request is in progress, in parts of the lease.
_EXTENSIONS_PER_LEASE = 4
# How much of a lease must be left when a request begins.
_LEAST_LEFT = 0.5


class LeaseLost(Exception):
    """The claim is no longer ours. Another worker may own its events, so nothing more may be sent."""


@dataclass(slots=True, kw_only=True, eq=False)
class Lease:
    """The time for which a claim is ours, by this process's clock, counted from before it was requested."""

    queue: lanes.Queue
    claim_id: str
    lease_ms: int
    requested_at: float  # time.monotonic()
    _needed_until: float = field(default=0.0, init=False)
    _is_over: bool = field(default=False, init=False)  # lost, or closed
    _extending: threading.Lock = field(default_factory=threading.Lock, init=False)

    def ensure(self, seconds: float) -> None:
        """Make sure that the claim is ours, and have the lease extended for `seconds` from now. Raises LeaseLost.

        When this returns, at least half of the lease is left.
        """
        now = time.monotonic()
        self._needed_until = now + seconds
        left_s = self.requested_at + self.lease_ms / 1000 - now
        if (self._is_over or left_s < _LEAST_LEFT * self.lease_ms / 1000) and not self._extend():
            raise LeaseLost

    def extend_if_needed(self) -> None:
        """Extend the lease if a request is in progress."""
        if self._needed_until > time.monotonic():
            self._extend()

    def close(self) -> None:
        """End the extensions; waits for one that is in progress."""
        with self._extending:
            self._is_over = True

    def _extend(self) -> bool:
        """Extend the lease, and return whether the claim is still ours."""
        with self._extending:
            if self._is_over:
                return False
            requested_at = time.monotonic()
            if not lanes.extend(self.queue, self.claim_id, lease_ms=self.lease_ms):
                self._is_over = True
                return False
            self.requested_at = requested_at
            return True


class Leases:
    """The open leases of a process, and the threads that extend them. Each client of Redis has a thread, since a server
    that does not answer must not end the leases of another one."""

    def __init__(self, lease_s: float) -> None:
        self.lease_ms = int(lease_s * 1000)
        self._interval_s = lease_s / _EXTENSIONS_PER_LEASE
        self._open: set[Lease] = set()
        self._opening = threading.Lock()
        self._clients: set[redis.Redis] = set()  # each has its thread

    @contextmanager
    def open(self, queue: lanes.Queue, claim_id: str, requested_at: float) -> Iterator[Lease]:
        """Yield the lease of a claim that was requested at this time (time.monotonic()), and extend it until the block
        ends."""
        lease = Lease(queue=queue, claim_id=claim_id, lease_ms=self.lease_ms, requested_at=requested_at)
        with self._opening:
            self._open.add(lease)
            if queue.client not in self._clients:
                self._clients.add(queue.client)
                threading.Thread(target=self._extend_for_ever, args=(queue.client,), name="leases", daemon=True).start()
        try:
            yield lease
        finally:
            with self._opening:
                self._open.discard(lease)
            lease.close()

    def extend(self, client: redis.Redis) -> None:
        """Extend the open leases of this client under which a request is in progress."""
        with self._opening:
            leases = [lease for lease in self._open if lease.queue.client is client]
        for lease in leases:
            try:
                lease.extend_if_needed()
            except RedisError as error:
                log.REDIS_UNAVAILABLE.write(destination=lease.queue.name, error=cause(error))

    def _extend_for_ever(self, client: redis.Redis) -> None:
        while True:
            time.sleep(self._interval_s)
            self.extend(client)
