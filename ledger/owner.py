"""One process at a time writes a ledger: by a lock of the directory on this machine, by Redis on all machines.

The kernel gives the lock of the directory back when its process ends, also when it is killed. The key in Redis has the
id of the directory, so the next process with the same directory goes on at once, and one with another directory waits
until the key expires.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

import redis
from redis.exceptions import LockError
from redis.lock import Lock

from lanes import keys

OWNER_S: Final = 15


class NotOwner(Exception):
    """Another process writes the ledger."""


class Owner:
    """The right to write to a directory, for a `with` block. Entering it raises NotOwner and OSError."""

    def __init__(self, client: redis.Redis, directory: Path) -> None:
        self._directory = directory
        self._lock = Lock(client, keys.LEDGER_OWNER.name, timeout=OWNER_S, blocking=False, thread_local=False)
        self._descriptor = -1
        self._id = b""

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise NotOwner(f"another process writes to {self._directory}") from None
        self._id = os.pread(self._descriptor, 32, 0) or self._new_id()
        return self

    def ensure(self) -> None:
        """Make sure that no process with another directory writes, for OWNER_S seconds. Raises NotOwner and
        redis.RedisError."""
        self._lock.local.token = self._id
        try:
            self._lock.reacquire()
        except LockError:
            if not self._lock.acquire(token=self._id.decode()):
                raise NotOwner("a process with another directory writes the ledger") from None

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        with suppress(redis.RedisError, LockError):
            self._lock.local.token = self._id
            self._lock.release()
        os.close(self._descriptor)

    def _new_id(self) -> bytes:
        new = uuid4().hex.encode("ascii")
        os.pwrite(self._descriptor, new, 0)
        os.fsync(self._descriptor)
        return new
