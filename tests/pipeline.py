"""A pipeline of real processes on loopback, for tests and benchmarks: simulator, ingest and Celery workers.

Redis is the caller's. `bench.support` and `tests.chaos` start their processes in another way, with the same TOML
document (`configuration`) and the same variables (`environment`).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from random import SystemRandom
from types import TracebackType
from typing import Any, Self

import httpx
import redis

import lanes
from console import audit
from tests.secrets import CREDENTIALS, SIMULATOR

QUEUE = "demo"
OTHER = "other"
DEADLINE_S = 60.0
_PORTS = SystemRandom()  # Hypothesis seeds the other generator


def configuration(name: str = QUEUE, *, delivery: Mapping[str, object] | None = None, **destination: object) -> str:
    """Return a TOML document with one source that feeds one destination.

    `name` is the name of both and the write key; the credentials are CREDENTIALS. `destination` and
    `delivery` are keys of the tables of those names, with strings, numbers or booleans as values.
    """
    tables: dict[str, Mapping[str, object]] = {
        f"sources.{name}": {"write_key": name, "destinations": [name]},
        f"destinations.{name}": {**CREDENTIALS, **destination},
        f"destinations.{name}.delivery": delivery or {},
    }
    # These values are written in TOML as in JSON.
    lines = (
        [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        for table, keys in tables.items()
    )
    return "".join(f"{line}\n" for table in lines for line in table)


def environment(redis_url: str, track_url: str, config: Path | None, **variables: str) -> dict[str, str]:
    """Return the variables that the processes of a pipeline share; `config` is a TOML file, or None for the default.

    Events do not wait for earlier ones, unless `variables` or the environment of this process say so.
    """
    reorder_ms = os.environ.get("SEGUE_REORDER_MS", "0")
    shared = {"REDIS_URL": redis_url, "SEGUE_TRACK_URL": track_url, "SEGUE_REORDER_MS": reorder_ms}
    return shared | ({"SEGUE_CONFIG": str(config)} if config else {}) | variables


def free_port() -> int:
    """Return a TCP port of loopback that is free at this moment.

    The kernel gives ports of this range to no client, so that this one stays free until a server has it.
    """
    with socket.socket() as listener:
        while True:
            port = _PORTS.randrange(10_000, 32_000)
            with suppress(OSError):
                listener.bind(("127.0.0.1", port))
                return port


def wait_until(is_so: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Poll until `is_so()` is true; raise AssertionError with `what` after `deadline_s` seconds."""
    until = time.monotonic() + deadline_s
    while not is_so():
        if time.monotonic() > until:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        time.sleep(0.02)


class Pipeline:
    """Simulator, ingest and `workers` worker processes; `with` empties Redis and starts them, its end stops them.

    `config` is the TOML document of the pipeline; without one it is Segue's default document. `app` is the Celery
    application that the workers run, with `threads` threads each. All processes inherit the environment of this process
    except SEGUE_CONFIG; `variables` are added to it.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        workers: int,
        threads: int = 4,
        app: str = "workers.app",
        config: str = "",
        **variables: str,
    ) -> None:
        self.redis_url = redis_url
        self.redis = redis.Redis.from_url(redis_url, socket_timeout=10)
        self.simulator_url = f"http://127.0.0.1:{free_port()}"
        self.ingest_url = f"http://127.0.0.1:{free_port()}"
        self.http = httpx.Client(timeout=30)
        self._document = config
        self._variables = {
            "SEGUE_INGEST_PORT": self.ingest_url.rpartition(":")[2],
            "SEGUE_RETRY_BASE_S": "0.05",
            "PYTHONWARNINGS": "ignore:You're running the worker with superuser",
            **variables,
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
            inherited = {name: value for name, value in os.environ.items() if name != "SEGUE_CONFIG"}
            shared = environment(self.redis_url, self.simulator_url, self._write_config(), **self._variables)
            self.environment = inherited | shared | SIMULATOR
            self._start("-m", "simulator", "--port", self.simulator_url.rpartition(":")[2])
            self._start("-m", "console.cli", "ingest", stop_signal=signal.SIGINT)  # SIGTERM keeps the port for a moment
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
        celery = ["-m", "celery", "-A", self._app, "--quiet", "worker"]
        pool = ["--pool", "threads", "--concurrency", str(self._threads)]
        single = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-n", f"w{self._started}@test"]
        self.workers.append(self._start(*celery, *pool, *single, "--loglevel", "WARNING"))

    def start_console(self) -> str:
        """Start the web console without sign-in, and return its address."""
        url = f"http://127.0.0.1:{free_port()}"
        self.environment |= {"SEGUE_CONSOLE_PORT": url.rpartition(":")[2], "SEGUE_CONSOLE_AUTH": "none"}
        self._start("-m", "console.cli", "console")
        wait_until(lambda: self._answers(f"{url}/health"), "the console answers")
        return url

    def start_ledger(self) -> None:
        """Start the process of the ledger."""
        self._start("-m", "console.cli", "ledger")

    def kill_worker(self, index: int) -> None:
        """Kill a worker process with SIGKILL."""
        worker = self.workers.pop(index)
        worker.kill()
        worker.wait()

    def send(self, events: Iterable[dict[str, Any]], batch: int = 100, write_key: str = "demo") -> None:
        """Send the events over HTTP in their order, `batch` of them a request."""
        pending = list(events)
        for first in range(0, len(pending), batch):
            response = self.http.post(
                f"{self.ingest_url}/v1/batch", json={"batch": pending[first : first + batch]}, auth=(write_key, "")
            )
            assert response.status_code == 200, response.text

    def faults(self, **faults: Any) -> None:
        """Set the faults of the simulator (`/_sim/faults`); those that are not named are off."""
        response = self.http.post(f"{self.simulator_url}/_sim/faults", json=faults)
        assert response.status_code == 200, response.text

    def drain(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait until the queue is empty."""
        wait_until(lambda: self.stats().waiting == 0, "the queue is empty", deadline_s)

    def stats(self) -> lanes.Stats:
        """Return the figures of the queue."""
        return lanes.stats(lanes.Queue(client=self.redis, name=QUEUE))

    def assert_accounted(self) -> None:
        """Assert that every accepted event has a fate or waits, as `segue audit` does."""
        accounts = audit.gather(lanes.Queue(client=self.redis, name=QUEUE))
        assert accounts["balanced"], accounts

    def journal(self) -> list[dict[str, Any]]:
        """Return every operation that the simulator applied, in order (`/_sim/journal`)."""
        entries: list[dict[str, Any]] = self.http.get(f"{self.simulator_url}/_sim/journal").json()["journal"]
        return entries

    def people(self) -> list[dict[str, Any]]:
        """Return the people of the simulated workspace (`/_sim/people`)."""
        people: list[dict[str, Any]] = self.http.get(f"{self.simulator_url}/_sim/people").json()["people"]
        return people

    def _write_config(self) -> Path | None:
        if not self._document:
            return None
        file = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-"))) / "segue.toml"
        file.write_text(self._document)
        return file

    def _start(self, *arguments: str, stop_signal: int = signal.SIGTERM) -> subprocess.Popen[bytes]:
        # Standard output belongs to the figures of a benchmark.
        process = subprocess.Popen([sys.executable, *arguments], env=self.environment, stdout=2)
        self._stack.callback(_stop, process, stop_signal)
        return process

    def _answers(self, url: str) -> bool:
        try:
            return self.http.get(url).is_success
        except httpx.HTTPError:
            return False


def _stop(process: subprocess.Popen[bytes], number: int) -> None:
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
