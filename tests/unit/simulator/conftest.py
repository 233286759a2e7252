"""A simulator as a process, and the Track API called without a socket."""

from __future__ import annotations

import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from simulator.response import Response
from simulator.service import Service
from simulator.track import TrackApi
from tests.pipeline import free_port, wait_until
from tests.secrets import PAIRS, SIMULATOR

AUTHORIZATION, OTHER_AUTHORIZATION = ("Basic " + b64encode(":".join(pair).encode()).decode() for pair in PAIRS)


class Api:
    """The Track API of a workspace in one region."""

    def __init__(self, region: str) -> None:
        self.service = Service(seed=1)
        self._track = TrackApi(self.service, PAIRS, region)

    def call(
        self, method: str, url: str, body: Any = b"", host: str = "127.0.0.1:8090", auth: str = AUTHORIZATION
    ) -> Response:
        """Send a request; a body that is not bytes is sent as JSON."""
        scope = {
            "method": method,
            "raw_path": urlsplit(url).path.encode(),
            "query_string": urlsplit(url).query.encode(),
            "headers": [(b"host", host.encode()), (b"authorization", auth.encode())],
        }
        return self._track.answer(scope, body if isinstance(body, bytes) else orjson.dumps(body))


@pytest.fixture
def api() -> Api:
    return Api("us")


@dataclass(frozen=True)
class Running:
    """A running simulator, and a client with its credentials."""

    process: subprocess.Popen[bytes]
    http: httpx.Client

    def faults(self, **faults: Any) -> None:
        assert self.http.post("/_sim/faults", json=faults).status_code == 200

    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self.http.get("/_sim/stats").json()
        return stats


@pytest.fixture(scope="session")
def process() -> Iterator[Running]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "simulator", "--port", str(port)], env=os.environ | SIMULATOR)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=PAIRS[0], timeout=10) as http:

        def answers() -> bool:
            try:
                return http.get("/_sim/stats").is_success
            except httpx.TransportError:
                return False

        wait_until(answers, "the simulator answers")
        yield Running(process, http)
    process.terminate()
    assert process.wait(timeout=10) == 0, "the exit code after SIGTERM is 0"


@pytest.fixture
def running(process: Running) -> Running:
    """The process in its initial state."""
    process.http.post("/_sim/reset", json={})
    process.http.post("/_sim/options", json={})
    return process
