"""The connection to Redis: redis-py's for asyncio, with commands packed in C, as in the synchronous one."""

from __future__ import annotations

from typing import Any

import hiredis
import redis.asyncio
from redis.typing import EncodableT


class Connection(redis.asyncio.Connection):
    """A connection for URLs of the scheme `redis`. For the others redis-py chooses its own."""

    def pack_command(self, *args: EncodableT) -> list[bytes]:
        """Return the command as it is sent. Redis-py writes some names of commands as two words in one text."""
        words: Any = (*str(args[0]).split(), *args[1:])
        return [hiredis.pack_command(words)]
