"""Whether Redis would take an append, tested without one."""

from __future__ import annotations

from functools import cache

from lanes import keys
from lanes.queue import AsyncQueue
from lanes.scripts import load

# A command for each type of key that takes the same time whatever the length, and fails on another type.
_LENGTH = {"string": "STRLEN", "hash": "HLEN", "list": "LLEN", "set": "SCARD", "zset": "ZCARD"}


async def probe_async(queue: AsyncQueue) -> bool:
    """Return whether the queue has room for one more event. Raises what an append would raise."""
    # An empty text changes nothing. Redis refuses the command whenever it would refuse an append.
    await queue.client.setrange(keys.LAYOUT.of(queue.name), 0, "")
    async with queue.client.pipeline(transaction=False) as pipeline:
        for key in _appended():
            pipeline.execute_command(_LENGTH[key.type], key.of(queue.name))
        pipeline.hlen(keys.EVENT.of(queue.name))
        *_, length = await pipeline.execute()
    return bool(length < queue.limit)


@cache
def _appended() -> tuple[keys.Key, ...]:
    """Return the keys that the script of an append uses, without those of a generation."""
    names = load("lanes", "append").names
    return tuple(key for name, key in keys.KEYS.items() if name in names and "{" not in key.name)
