"""Numbers of events per source: counted in memory, added to one Redis hash (`lanes.keys.SOURCES`) several times a
second.

A field is `SOURCE:RESULT`. RESULT is what became of the event (`accepted`, `duplicates`, `suppressed`, `rejected`,
`dropped`), or what is remarkable about it (`unlikely_ids`, `unreadable_times`, `future_times`, `forbidden`,
`throttled`). `:unauthorized` is the number of requests that belong to no source. The counts of the last interval are
lost when the process is killed.

Refusals are counted beside that, by status and cause (`lanes.keys.REFUSALS`). The cause is the member at fault where it
is one of Segment's, else the code of the response. A refused request counts once, and so does each refused event of a
request. Without a source it is counted under an empty name. So the number of names does not depend on what is sent.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, NamedTuple, cast

import orjson
import redis
import redis.asyncio
from redis.exceptions import RedisError

from ingest.errors import Disconnected, Refusal
from ingest.tap import IngestTap
from lanes import keys
from lanes.cluster import at

_INTERVAL_S = 0.25


class Refused(NamedTuple):
    """How often something was refused."""

    source: str  # empty: of no known source
    status: int
    cause: str
    number: int


class Counters:
    """The counts of this process that are not in Redis yet, and the tap of what it counts."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._refusals: Counter[bytes] = Counter()
        self.tap = IngestTap()

    def add(self, source: str, result: str, count: int = 1) -> None:
        """Count events of a source with this result."""
        self._counts[f"{source}:{result}"] += count

    def refuse(self, refusal: Refusal, source: str = "", event: Any = None) -> None:
        """Count a refusal, once however often it is given; not one that no client gets. `event`: if it is of one."""
        if refusal.is_counted or isinstance(refusal, Disconnected):
            return
        refusal.is_counted = True
        self._refusals[orjson.dumps((source, refusal.status, refusal.known_field or refusal.code))] += 1
        if self.tap.is_watched:
            self.tap.refused(refusal, source, event)

    async def write(self, client: redis.asyncio.Redis) -> None:
        """Add the counts to the totals in Redis; keep them for the next call when Redis is unavailable."""
        await self._write(client, keys.SOURCES.name, self._counts)
        await self._write(client, keys.REFUSALS.name, self._refusals)

    async def _write(self, client: redis.asyncio.Redis, key: str, counts: Counter[Any]) -> None:
        """Add the counts to one hash, and take them off; in a cluster, another server may have the other hash."""
        if not +counts:
            return
        written = counts.copy()
        counts.clear()
        try:
            pipeline = at(client, key).pipeline(transaction=True)
            for field, count in written.items():
                pipeline.hincrby(key, field, count)
            await pipeline.execute()
        except (RedisError, OSError):
            counts.update(written)
        except asyncio.CancelledError:
            counts.update(written)
            raise

    async def write_regularly(self, client: redis.asyncio.Redis) -> None:
        """Write the counts at short intervals until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL_S)
            await self.write(client)


def refusals(client: redis.Redis) -> list[Refused]:
    """Return how often requests and events were refused, of all processes."""
    stored = cast(dict[bytes, bytes], client.hgetall(keys.REFUSALS.name))
    rows = ((*orjson.loads(field), int(number)) for field, number in sorted(stored.items()))
    return [Refused(source, status, cause, number) for source, status, cause, number in rows]


def totals(client: redis.Redis) -> dict[str, dict[str, int]]:
    """Return the number of events per source and result, of all processes: `{source: {result: count}}`."""
    found: dict[str, dict[str, int]] = {}
    for field, count in cast(dict[bytes, bytes], client.hgetall(keys.SOURCES.name)).items():
        source, _, result = field.decode().rpartition(":")
        found.setdefault(source, {})[result] = int(count)
    return found
