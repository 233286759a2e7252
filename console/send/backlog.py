"""Whether the queues of a source are busy, so that history leaves the workers to live events.

Only where Redis can be reached with the settings of the command. Elsewhere the endpoint answers 429 when a queue is
full, or the source has its share of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from redis.exceptions import RedisError

import lanes

_EVERY_S: Final = 1.0
BUSY_S: Final = 0.5  # a queue is busy when more events are ready than history brings in this time


class Backlog:
    """The queues that the events of a source go to. `rate` is that of history; `clock` returns seconds."""

    def __init__(self, queues: Sequence[lanes.Queue], rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._queues = queues
        self._most = max(100.0, BUSY_S * rate)
        self._clock = clock
        self._checked_at = float("-inf")

    def is_busy(self) -> bool:
        """Whether more events are ready than workers take at once. Asks Redis once a second, and is False between."""
        now = self._clock()
        if now - self._checked_at < _EVERY_S:
            return False
        self._checked_at = now
        try:
            return any(lanes.stats(queue).ready > self._most for queue in self._queues)
        except (RedisError, lanes.QueueError):  # the endpoint says so too, with the status 429
            return False
