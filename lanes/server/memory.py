"""The limit of a queue in bytes: how much of the memory of Redis may be used before events are refused.

Redis tells its memory once a second. Between two measurements a process adds what it appends itself. What the other
processes append in a second fits into the rest.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import redis.asyncio

logger = logging.getLogger("lanes")

_UNLIMITED: Final = float("inf")
_EVICTS_NOTHING: Final = "noeviction"
_REOPENS_AT: Final = 0.95  # of the limit: between the two, the answer of `is_full` does not change


class Memory:
    """The memory of the Redis that holds a queue. Events are refused while `share` of its `maxmemory` is used."""

    def __init__(self, share: float) -> None:
        self.is_full = False
        self._share = share
        self._used, self._added = 0, 0  # bytes: as measured last, and appended since that measurement began
        self._limit = _UNLIMITED
        self._policy = _EVICTS_NOTHING

    def take(self, size: int) -> bool:
        """Count `size` bytes that are about to be appended; return False when they must not be."""
        self.is_full = self.is_full or self._used + self._added + size > self._limit
        if not self.is_full:
            self._added += size
        return not self.is_full

    async def measure(self, client: redis.asyncio.Redis) -> None:
        """Read the memory of Redis; log a policy by which it deletes events. Raises what the Redis client raises."""
        before = self._added
        info: dict[str, Any] = await client.info("memory")
        self._added -= before
        self._used = info["used_memory"] - info.get("mem_not_counted_for_evict", 0)
        self._limit = info["maxmemory"] * self._share if info["maxmemory"] else _UNLIMITED
        self.is_full = self._used + self._added > self._limit * (_REOPENS_AT if self.is_full else 1)
        self._warn_of(info["maxmemory_policy"])

    def _warn_of(self, policy: str) -> None:
        if policy not in (self._policy, _EVICTS_NOTHING):
            logger.error("Redis deletes events when its memory is full: its maxmemory-policy is %s", policy)
        self._policy = policy
