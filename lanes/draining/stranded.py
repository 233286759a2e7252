"""Queues in Redis whose destination is no longer configured: no worker delivers what they have."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain
from typing import NamedTuple, cast

import redis

from lanes import keys
from lanes.cluster import at, servers

_PAGE = 1000


class StrandedQueue(NamedTuple):
    """A queue without a destination that still has events or dead letters."""

    name: str
    waiting: int  # events, without dead letters that block
    dead: int


def queue_names(client: redis.Redis) -> list[str]:
    """Return the names of all queues in this Redis, by a scan of its keys."""
    prefix, suffix = keys.LAYOUT.of("\0").split("\0")
    pattern = f"{keys.escaped(prefix)}*{keys.escaped(suffix)}"
    scans = (server.scan_iter(match=pattern, count=_PAGE, _type="string") for server in servers(client).values())
    found = cast(Iterator[bytes], chain.from_iterable(scans))
    names = {name.decode().removeprefix(prefix).removesuffix(suffix) for name in found}
    return sorted(names)


def stranded(client: redis.Redis, configured: Collection[str]) -> list[StrandedQueue]:
    """Return the queues that are not among the configured ones and have events or dead letters."""
    found = [_read(client, name) for name in queue_names(client) if name not in configured]
    return [queue for queue in found if queue.waiting or queue.dead]


def _read(client: redis.Redis, name: str) -> StrandedQueue:
    with at(client, keys.base(name)).pipeline(transaction=True) as pipeline:
        pipeline.hlen(keys.EVENT.of(name))
        pipeline.scard(keys.BLOCKING.of(name))
        pipeline.zcard(keys.DEAD_INDEX.of(name))
        events, blocking, dead = pipeline.execute()
    return StrandedQueue(name, events - blocking, dead)
