"""Barred keys: events that have one are refused at the door. Kept as keyed hashes, never as what they stand for.

The secret is made once per queue and stays in Redis, so whoever holds a whole copy of Redis can test a guess; a list of
the hashes alone tells nothing. Ingest keeps a copy in its memory and asks once a second whether it has changed.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import cast

import redis
import redis.asyncio
from redis.client import Pipeline

from lanes import keys

# How long a change may go unnoticed.
FRESH_S = 1.0
_SECRET_BYTES = 32
_MARK_BYTES = 16


def secret(client: redis.Redis, queue: str) -> bytes:
    """Return the secret of the queue, made when there is none."""
    name = f"{keys.base(queue)}:secret"
    client.set(name, secrets.token_bytes(_SECRET_BYTES), nx=True)
    return cast(bytes, client.get(name))


def mark(secret: bytes, text: bytes) -> bytes:
    """Return the keyed hash that stands for a text: the digest of an ordering key, or any other."""
    return blake2b(text, key=secret, digest_size=_MARK_BYTES).digest()


def bar(client: redis.Redis, queue: str, digests: Iterable[bytes]) -> int:
    """Refuse from now on what has one of these keys; return how many were not barred yet."""
    with _changing(client, queue) as (pipeline, name, key):
        pipeline.sadd(name, *(mark(key, digest) for digest in digests))
        return int(pipeline.execute()[-1])


def admit(client: redis.Redis, queue: str, digests: Iterable[bytes]) -> int:
    """Take again what has one of these keys; return how many were barred."""
    with _changing(client, queue) as (pipeline, name, key):
        pipeline.srem(name, *(mark(key, digest) for digest in digests))
        return int(pipeline.execute()[-1])


@contextmanager
def _changing(client: redis.Redis, queue: str) -> Iterator[tuple[Pipeline, str, bytes]]:
    """Yield a transaction that counts as a change, the name of the set, and the secret."""
    key, name = secret(client, queue), f"{keys.base(queue)}:barred"
    with client.pipeline(transaction=True) as pipeline:
        pipeline.incr(f"{name}:changes")
        yield pipeline, name, key


class Bars:
    """The barred keys of one queue as a process knows them."""

    def __init__(self, queue: str) -> None:
        self._name = f"{keys.base(queue)}:barred"
        self._secret_name = f"{keys.base(queue)}:secret"
        self._marks: frozenset[bytes] = frozenset()
        self._secret = b""
        self._changes: bytes | None = None
        self._fresh_until = 0.0

    async def refresh(self, client: redis.asyncio.Redis) -> None:
        """Read them again when they have changed; asks once in FRESH_S seconds."""
        now = time.monotonic()
        if now < self._fresh_until:
            return
        changes = cast(bytes | None, await client.get(f"{self._name}:changes"))
        if changes != self._changes:
            self._secret = cast(bytes, await client.get(self._secret_name))
            self._marks = frozenset([mark async for mark in client.sscan_iter(self._name, count=1000)])
            self._changes = changes
        self._fresh_until = now + FRESH_S

    def __bool__(self) -> bool:
        """Whether any key is barred."""
        return bool(self._marks)

    def stop(self, ordering_keys: Iterable[str]) -> bool:
        """Whether one of the keys is barred."""
        return any(mark(self._secret, keys.digest(key)) in self._marks for key in ordering_keys)
