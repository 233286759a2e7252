"""The embedded Redis is one in which queues can be kept, as workers and `segue check --redis` judge it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from console.local import programs
from console.local.supervisor import Supervisor
from lanes.server.checks import Server
from lanes.server.connect import connect
from lanes.server.redis_url import socket_url


def test_nothing_is_wrong_with_the_embedded_redis() -> None:
    with tempfile.TemporaryDirectory() as name, Supervisor(print) as supervisor:  # a short path: it is that of a socket
        url = socket_url(Path(name) / "redis.sock")
        supervisor.start(programs.embedded_redis(url, Path(name) / "redis"))
        with connect(url) as client:
            server = Server.of(client)

    assert list(server.findings()) == []
    assert server.memory[1] == programs.memory_limit()
