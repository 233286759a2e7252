"""A whole pipeline as real processes on loopback: simulator, ingest and Celery workers over a given Redis server.

For the tests that kill, count and compare. Everything it starts is stopped with it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import httpx
import redis

import lanes

QUEUE = "demo"
OTHER = "other"  # site id and API key of a second workspace at the simulator
DEADLINE_S = 60.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(is_so: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Poll until `is_so`, and fail saying `what` never came to be."""
    until = time.monotonic() + deadline_s
    while not is_so():
        if time.monotonic() > until:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        time.sleep(0.02)


class Pipeline:
    """Simulator, ingest and `workers` worker processes; `with` starts and stops them."""

    def __init__(
        self, redis_url: str, *, workers: int, threads: int = 4, app: str = "workers.app", **environment: str
    ) -> None:
        self.redis_url = redis_url
        self.redis = redis.Redis.from_url(redis_url, socket_timeout=10)
        self.simulator_url = f"http://127.0.0.1:{free_port()}"
        self.ingest_url = f"http://127.0.0.1:{free_port()}"
        self.http = httpx.Client(timeout=30)
        inherited = {name: value for name, value in os.environ.items() if name != "SEGUE_CONFIG"}
        self._environment = inherited | {
            "REDIS_URL": redis_url,
            "SEGUE_TRACK_URL": self.simulator_url,
            "SEGUE_INGEST_PORT": self.ingest_url.rpartition(":")[2],
            "SEGUE_RETRY_BASE_S": "0.05",
            "PYTHONWARNINGS": "ignore:You're running the worker with superuser",
            **environment,
        }
        self._wanted = workers
        self._threads = threads
        self._app = app
        self._started = 0
        self._stack = ExitStack()
        self.workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.redis.flushall()
        with ExitStack() as failing:
            failing.push(self)
            self._start(
                "-m", "simulator", "--port", self.simulator_url.rpartition(":")[2], "--credentials", f"{OTHER}:{OTHER}"
            )
            self._start("-m", "console.cli", "ingest")
            for _ in range(self._wanted):
                self.start_worker()
            wait_until(lambda: self._answers(f"{self.simulator_url}/_sim/stats"), "the simulator answers")
            wait_until(lambda: self._answers(f"{self.ingest_url}/ready"), "ingest is ready")
            failing.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.terminate()  # all at once; they are waited for one after the other
        self._stack.close()
        self.http.close()
        self.redis.close()

    def start_worker(self) -> None:
        """Start one more worker process."""
        self._started += 1
        celery = [
            "-m",
            "celery",
            "-A",
            self._app,
            "--quiet",
            "worker",
            "--pool",
            "threads",
            "--concurrency",
            str(self._threads),
        ]
        alone = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-n", f"w{self._started}@test"]
        self.workers.append(self._start(*celery, *alone, "--loglevel", "WARNING"))

    def kill_worker(self, index: int) -> None:
        """Kill a worker process the hard way."""
        worker = self.workers.pop(index)
        worker.kill()
        worker.wait()

    def send(self, events: Iterable[dict[str, Any]], batch: int = 100, write_key: str = "demo") -> None:
        """Send events through the HTTP endpoint in their order, some per request."""
        pending = list(events)
        for first in range(0, len(pending), batch):
            answer = self.http.post(
                f"{self.ingest_url}/v1/batch", json={"batch": pending[first : first + batch]}, auth=(write_key, "")
            )
            assert answer.status_code == 200, answer.text

    def faults(self, **faults: Any) -> None:
        """Tell the simulator to misbehave."""
        answer = self.http.post(f"{self.simulator_url}/_sim/faults", json=faults)
        assert answer.status_code == 200, answer.text

    def drain(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait until nothing is left on the queue."""
        wait_until(lambda: self.stats().waiting == 0, "the queue is empty", deadline_s)

    def stats(self) -> lanes.Stats:
        return lanes.stats(lanes.Queue(client=self.redis, name=QUEUE))

    def journal(self) -> list[dict[str, Any]]:
        """Every operation that the simulator applied, in order."""
        entries: list[dict[str, Any]] = self.http.get(f"{self.simulator_url}/_sim/journal").json()["journal"]
        return entries

    def people(self) -> list[dict[str, Any]]:
        people: list[dict[str, Any]] = self.http.get(f"{self.simulator_url}/_sim/people").json()["people"]
        return people

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, *arguments], env=self._environment)
        self._stack.callback(_stop, process)
        return process

    def _answers(self, url: str) -> bool:
        try:
            return self.http.get(url).is_success
        except httpx.HTTPError:
            return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
