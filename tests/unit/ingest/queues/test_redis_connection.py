"""Commands are sent as redis-py's own connection sends them."""

from __future__ import annotations

from typing import Any

import pytest
import redis.asyncio

from ingest.queues.redis_connection import Connection


@pytest.mark.parametrize(
    "command",
    [
        ("PING",),
        ("SCRIPT LOAD", "return 1"),
        ("EVALSHA", "0a", 1, "segue:{é}", -5, 0.25, b"\0\r\n\xff", "", b"", "\U0001f600"),
        ("SET", "key", b"v" * 100_000),
    ],
)
def test_a_command_is_packed_as_redis_py_packs_it(command: tuple[Any, ...]) -> None:
    plain = redis.asyncio.Connection()

    assert b"".join(Connection().pack_command(*command)) == b"".join(plain.pack_command(*command))
