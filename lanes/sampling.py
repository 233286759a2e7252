"""Samples: some events of a queue or some of its dead letters, chosen at random, to estimate what all of them are."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from lanes import keys, records
from lanes.queue import AsyncQueue


class Counts(NamedTuple):
    """The number of unfinished events and of dead letters of a queue."""

    unfinished: int
    dead: int


async def counts(queue: AsyncQueue) -> Counts:
    """Return how many events the queue has."""
    pipeline = queue.client.pipeline(transaction=False)
    for key in (keys.EVENT, keys.DEAD):
        pipeline.hlen(key.of(queue.name))
    return Counts(*await pipeline.execute())


async def sample_unfinished(queue: AsyncQueue, count: int) -> list[bytes]:
    """Return the bodies of so many different unfinished events; of all when there are fewer."""
    return await _sample(queue, keys.EVENT, count)


async def sample_dead_letters(queue: AsyncQueue, count: int) -> list[bytes]:
    """Return the bodies of so many different dead letters; of all when there are fewer."""
    return await _sample(queue, keys.DEAD, count)


async def _sample(queue: AsyncQueue, key: keys.Key, count: int) -> list[bytes]:
    reply = cast(list[Any], await queue.client.hrandfield(key.of(queue.name), count, withvalues=True) or [])
    bodies = [records.read_record(record)[2] for record in reply[1::2]]
    return [body for body in bodies if body]  # an event that was erased while it was claimed has none
