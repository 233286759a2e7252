"""The streams of copies in Redis: one of ingest, one of the workers.

A live tail sets a key that ends by itself. Each process reads it once a second, and writes what it copied meanwhile.
A stream has at most MOST entries, none of which is much older than KEPT_S seconds.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, NamedTuple, cast

import orjson
import redis
import redis.asyncio
from redis.exceptions import ResponseError

from lanes import keys
from lanes.clock import machine_ms
from lanes.cluster import at
from lanes.keys import Key
from lanes.taps.tap import Copy, Tap

WATCHED_S: Final = 30
KEPT_S: Final = 60
MOST: Final = 500
STREAMS: Final = (keys.TAP_INGEST, keys.TAP_WORKERS)


class Stored(NamedTuple):
    """A copy in a stream. Ids grow: Redis' time in ms, and a number."""

    id: tuple[int, int]
    copy: Copy


def watch(client: redis.Redis, every: int) -> None:
    """Have all processes copy one event in `every`, for WATCHED_S seconds from now on."""
    client.set(keys.TAP_WATCHED.name, every, ex=WATCHED_S)


def follow(tap: Tap, client: redis.Redis) -> None:
    """Learn whether the tap of a worker is watched, and write what it copied. A Redis that takes no writes loses it."""
    tap.watch(_every(client.get(keys.TAP_WATCHED.name)))
    copies = tap.taken()
    if copies:
        with suppress(ResponseError):
            _writes(at(client, keys.TAP_WORKERS.name).pipeline(transaction=True), keys.TAP_WORKERS, copies).execute()


async def follow_async(tap: Tap, client: redis.asyncio.Redis) -> None:
    """Do for the tap of an ingest process what `follow` does."""
    tap.watch(_every(await client.get(keys.TAP_WATCHED.name)))
    copies = tap.taken()
    if copies:
        pipeline = at(client, keys.TAP_INGEST.name).pipeline(transaction=True)
        with suppress(ResponseError):
            await _writes(pipeline, keys.TAP_INGEST, copies).execute()


def read(client: redis.Redis, stream: Key, after: tuple[int, int] = (0, 0)) -> list[Stored]:
    """Return the copies of a stream behind this id, the oldest first."""
    found = cast(list[Any], client.xrange(stream.name, min=f"({after[0]}-{after[1]}"))
    return [Stored(_id(entry_id), _copy(fields)) for entry_id, fields in found]


def clear(client: redis.Redis) -> None:
    """Remove all copies: an erasure does, since each may be of its person."""
    for stream in STREAMS:
        client.delete(stream.name)


def _every(stored: Any) -> int | None:
    return None if stored is None else int(stored)


def _writes(pipeline: Any, stream: Key, copies: list[Copy]) -> Any:
    """Return the pipeline with the commands that write the copies."""
    for facts, event, requests in copies:
        fields = {"facts": orjson.dumps(facts), "event": event, "requests": requests}
        pipeline.xadd(stream.name, fields, maxlen=MOST, approximate=False)
    pipeline.xtrim(stream.name, minid=machine_ms() - KEPT_S * 1000, approximate=False)
    pipeline.expire(stream.name, KEPT_S)
    return pipeline


def _id(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.decode().partition("-")
    return int(milliseconds), int(number)


def _copy(fields: dict[bytes, bytes]) -> Copy:
    return Copy(orjson.loads(fields[b"facts"]), fields[b"event"], fields[b"requests"])
