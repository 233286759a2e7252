"""Recent events: a few events of each name as they were received, for comparing configurations.

A worker process keeps one event of a claim in a second, so nothing is done for each event. The fields of a hash are
`[SOURCE, TYPE, NAME, SLOT]` as JSON, the values are events as the queue stores them. There is a hash for each day. It
holds at most MOST events, and ends after a day more.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, cast

import orjson

from lanes import ClaimedEvent, Queue, keys
from mapping.envelope import JsonObject, name_of, unpack, unpack_encodable

MOST: Final = 1500
SLOTS: Final = 5  # events of one name
MOST_BYTES: Final = 4096  # of an event as it is stored
_EVERY_S = 1.0
_DAY_S = 86_400


class RecentEvent(NamedTuple):
    """An event as ingest stored it, and its source."""

    source: str
    event: JsonObject


class RecentEvents:
    """Keeps events that this process claims."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}  # by queue

    def keep(self, queue: Queue, events: Sequence[ClaimedEvent]) -> None:
        """Keep one of the events, unless one of the queue was kept less than a second ago.

        Never raises: an event that cannot be read, or that Redis does not take, is missing in comparisons alone.
        """
        now = self._clock()
        if now < self._next.get(queue.name, 0.0):
            return
        self._next[queue.name] = now + _EVERY_S
        body = random.choice(events).body
        if body and len(body) <= MOST_BYTES:
            with suppress(Exception):
                _write(queue, _field(body), body)


def read(queue: Queue) -> Iterator[RecentEvent]:
    """Yield the events that are kept."""
    for name in names(queue):
        for body in cast(list[bytes], queue.client.hvals(name)):
            source, event, _ = unpack(body)
            yield RecentEvent(source, event)


def clear(queue: Queue) -> None:
    """Remove all of them: an erasure does, since each may be of its person."""
    queue.client.delete(*names(queue))


def _write(queue: Queue, field: bytes, body: bytes) -> None:
    name = names(queue)[0]
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.hset(name, field, body)
        pipeline.expire(name, 2 * _DAY_S)
        pipeline.hlen(name)
        *_, count = pipeline.execute()
    if count > MOST:
        surplus: Any = queue.client.hrandfield(name, count - MOST)
        queue.client.hdel(name, *surplus)


def _field(body: bytes) -> bytes:
    source, event, _ = unpack_encodable(body)
    return orjson.dumps([source, event["type"], name_of(event)[:100], random.randrange(SLOTS)])


def names(queue: Queue) -> list[str]:
    """Return the keys of today and of yesterday."""
    day = int(queue.client.time()[0]) // _DAY_S
    return [keys.RECENT_EVENTS.of(queue.name, each) for each in (day, day - 1)]
