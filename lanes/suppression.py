"""The suppression list: events with a suppressed key are refused at ingest. It keeps keyed hashes, never identities.

The secret is made once per queue and stays in Redis. A full copy of Redis therefore allows testing a guess; a list of
the hashes alone reveals nothing. Ingest keeps a copy in memory and asks once a second whether the list has changed.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import cast

from redis.client import Pipeline

from lanes import keys, records
from lanes.queue import AsyncQueue, Queue

# The longest delay of a change, seconds.
FRESH_S = 1.0
_SECRET_BYTES = 32
_HASH_BYTES = 16


def secret(queue: Queue) -> bytes:
    """Return the secret of the queue, which is made when there is none."""
    name = keys.SECRET.of(queue.name)
    queue.client.set(name, secrets.token_bytes(_SECRET_BYTES), nx=True)
    return cast(bytes, queue.client.get(name))


def keyed_hash(secret: bytes, text: bytes) -> bytes:
    """Return the 16-byte keyed hash of a text: of the digest of an ordering key, or any other."""
    return blake2b(text, key=secret, digest_size=_HASH_BYTES).digest()


def suppress(queue: Queue, digests: Iterable[bytes]) -> int:
    """Refuse events with one of these keys from now on; return how many keys were not suppressed yet."""
    with _changing(queue) as (pipeline, key):
        pipeline.sadd(keys.SUPPRESSED.of(queue.name), *(keyed_hash(key, digest) for digest in digests))
        return int(pipeline.execute()[-1])


def unsuppress(queue: Queue, digests: Iterable[bytes]) -> int:
    """Accept events with these keys again; return how many keys were suppressed."""
    with _changing(queue) as (pipeline, key):
        pipeline.srem(keys.SUPPRESSED.of(queue.name), *(keyed_hash(key, digest) for digest in digests))
        return int(pipeline.execute()[-1])


def suppressed(queue: Queue, digests: Sequence[bytes]) -> list[bool]:
    """Return for each ordering key, by its digest, whether it is suppressed."""
    name = keys.SUPPRESSED.of(queue.name)
    if not digests or not queue.client.exists(name):
        return [False] * len(digests)
    key = secret(queue)
    found = cast(list[int], queue.client.smismember(name, [keyed_hash(key, digest) for digest in digests]))
    return list(map(bool, found))


@contextmanager
def _changing(queue: Queue) -> Iterator[tuple[Pipeline, bytes]]:
    """Yield a transaction that counts as a change, and the secret."""
    key = secret(queue)
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.incr(keys.SUPPRESSED_CHANGES.of(queue.name))
        yield pipeline, key


class SuppressionList:
    """The suppressed keys of one queue, as a process knows them."""

    def __init__(self) -> None:
        self._hashes: frozenset[bytes] = frozenset()
        self._secret = b""
        self._changes: bytes | None = None
        self._fresh_until = 0.0

    async def refresh(self, queue: AsyncQueue) -> None:
        """Read the list again when it has changed; asks once in FRESH_S seconds."""
        now = time.monotonic()
        if now < self._fresh_until:
            return
        client = queue.client
        changes = cast(bytes | None, await client.get(keys.SUPPRESSED_CHANGES.of(queue.name)))
        if changes != self._changes:
            self._secret = cast(bytes, await client.get(keys.SECRET.of(queue.name)))
            name = keys.SUPPRESSED.of(queue.name)
            self._hashes = frozenset([hashed async for hashed in client.sscan_iter(name, count=1000)])
            self._changes = changes
        self._fresh_until = now + FRESH_S

    def __bool__(self) -> bool:
        """Whether any key is suppressed."""
        return bool(self._hashes)

    def matches(self, ordering_keys: Iterable[str]) -> bool:
        """Whether one of the keys is suppressed."""
        return any(keyed_hash(self._secret, records.digest(key)) in self._hashes for key in ordering_keys)
