"""Being the only worker that does something: a lock in Redis that ends by itself when its holder dies.

Two at once do no harm where it is used; they would do the work twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import redis

_LOCK_MS = 5_000


@contextmanager
def alone(client: redis.Redis, lock: str) -> Iterator[Callable[[], bool] | None]:
    """Yield None when somebody else has the lock; else a function that keeps it for some seconds more and returns
    whether it is still ours."""
    token = uuid4().hex.encode()

    def keep() -> bool:
        return client.get(lock) == token and bool(client.pexpire(lock, _LOCK_MS))

    is_mine = client.set(lock, token, nx=True, px=_LOCK_MS)
    try:
        yield keep if is_mine else None
    finally:
        if is_mine and keep():
            client.delete(lock)
