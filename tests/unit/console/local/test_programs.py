"""The embedded Redis is one in which queues can be kept, as workers and `segue check --redis` judge it. The programs of
this machine are asked without a proxy."""

from __future__ import annotations

import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

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


class Ready(BaseHTTPRequestHandler):
    """Responds as a server that is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


def test_a_program_of_this_machine_is_ready_whatever_the_proxy_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with HTTPServer((programs.LOOPBACK, 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        assert programs.ingest(programs.LOOPBACK, server.server_port, {}).is_ready(0)

        server.shutdown()
