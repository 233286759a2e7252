"""The times of Redis and of this machine, and the clock of Redis, by which events are due and leases end.

That clock steps when a replica on another machine takes over. A process that follows it compares it with its own clock,
which does not step.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import redis

from lanes.queue import Queue
from lanes.scripts import run


def redis_ms(client: redis.Redis) -> int:
    """Return the time of Redis' clock, Unix milliseconds."""
    return reply_ms(client.time())


def reply_ms(reply: tuple[int, int]) -> int:
    """Return the reply of the command TIME as Unix milliseconds."""
    seconds, microseconds = reply
    return int(seconds) * 1000 + int(microseconds) // 1000


def machine_ms() -> int:
    """Return the time of this machine's clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True, kw_only=True)
class Clock:
    """The clock of the Redis that has a queue, as one process follows it. `lease_ms`: of the claims of the queue."""

    queue: Queue
    lease_ms: int
    _read: tuple[float, float] | None = field(default=None, init=False)  # it and the own clock, in ms, at one moment

    def follow(self) -> int:
        """Move what was to come by as much as the clock stepped since the last call of any process. Call it before
        `reap`.

        Return by how many ms it stepped, less than 0: back. A step forward is known from the second call on.
        """
        before, own_before = self._read or (0.0, 0.0)
        began_ms = _own_ms()
        seconds, microseconds = self.queue.client.time()
        now_ms = int(seconds) * 1000 + int(microseconds) / 1000
        forward = "" if self._read is None else max(0, int(now_ms - before - (_own_ms() - own_before)))
        step: int = run(self.queue, "follow_clock", (forward, self.lease_ms))
        self._read = now_ms, began_ms  # not before: where Redis refuses scripts, the next call has to see the step too
        return step


def _own_ms() -> float:
    return time.monotonic() * 1000
