"""One process at a time writes a ledger: by a lock of the directory on its machine, by Redis on all machines.

A directory has an id, which the key in Redis has for a value. So the next process with the same directory goes on at
once. One with another directory waits until the key expires, and so does each process with an object store.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Final, Self

import redis
from redis.exceptions import LockError
from redis.lock import Lock

from lanes import keys
from ledger.storage import NotOwner, Storage

OWNER_S: Final = 15


class Owner:
    """The right to write to a storage, for a `with` block. Entering it raises NotOwner and OSError."""

    def __init__(self, client: redis.Redis, storage: Storage) -> None:
        self._storage = storage
        self._lock = Lock(client, keys.LEDGER_OWNER.name, timeout=OWNER_S, blocking=False, thread_local=False)
        self._locked = ExitStack()
        self._id = ""

    def __enter__(self) -> Self:
        self._id = self._locked.enter_context(self._storage.locked())
        return self

    def ensure(self) -> None:
        """Make sure that no process with another id writes, for OWNER_S seconds. Raises NotOwner and
        redis.RedisError."""
        self._lock.local.token = self._id.encode("ascii")
        try:
            self._lock.reacquire()
        except LockError:
            if not self._lock.acquire(token=self._id):
                raise NotOwner("another process writes the ledger, or was killed within 15 s") from None

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        with suppress(redis.RedisError, LockError):
            self._lock.local.token = self._id.encode("ascii")
            self._lock.release()
        self._locked.close()
