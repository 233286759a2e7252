"""Numbers of events per source: counted in memory, added to one Redis hash (`lanes.keys.SOURCES`) several times a
second.

A field is `SOURCE:RESULT`. RESULT is what became of the event (`accepted`, `duplicates`, `suppressed`, `rejected`,
`dropped`), or what is remarkable about it (`unlikely_ids`, `unreadable_times`, `future_times`, `forbidden`,
`throttled`). `:unauthorized` is the number of requests that belong to no source. The counts of the last interval are
lost when the process is killed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast

import redis
import redis.asyncio
from redis.exceptions import RedisError

from lanes import keys

_INTERVAL_S = 0.25


class Counters:
    """The counts of this process that are not in Redis yet."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, source: str, result: str, count: int = 1) -> None:
        """Count events of a source with this result."""
        self._counts[f"{source}:{result}"] += count

    async def write(self, client: redis.asyncio.Redis) -> None:
        """Add the counts to the totals in Redis; keep them for the next call when Redis is unavailable."""
        counts, self._counts = self._counts, Counter()
        if not +counts:
            return
        try:
            pipeline = client.pipeline(transaction=True)
            for field, count in counts.items():
                pipeline.hincrby(keys.SOURCES.name, field, count)
            await pipeline.execute()
        except (RedisError, OSError):
            self._counts += counts
        except asyncio.CancelledError:
            self._counts += counts
            raise

    async def write_regularly(self, client: redis.asyncio.Redis) -> None:
        """Write the counts at short intervals until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL_S)
            await self.write(client)


def totals(client: redis.Redis) -> dict[str, dict[str, int]]:
    """Return the number of events per source and result, of all processes: `{source: {result: count}}`."""
    found: dict[str, dict[str, int]] = {}
    for field, count in cast(dict[bytes, bytes], client.hgetall(keys.SOURCES.name)).items():
        source, _, result = field.decode().rpartition(":")
        found.setdefault(source, {})[result] = int(count)
    return found
