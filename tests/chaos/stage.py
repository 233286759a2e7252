"""The processes of a chaos run; a supervisor starts again those that were killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import redis

import lanes
from console.local import programs
from console.local.supervisor import Supervisor
from tests.pipeline import configuration, environment
from tests.secrets import PAIRS


class Stage:
    """Redis and the simulator from the beginning; ingest and workers once the addresses of their proxies are known."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.redis_port, self.simulator_port, self.ingest_port = (programs.free_port() for _ in range(3))
        self.store = redis.Redis.from_url(f"redis://127.0.0.1:{self.redis_port}/0", socket_timeout=10)
        self.simulator = httpx.Client(base_url=f"http://127.0.0.1:{self.simulator_port}", timeout=60)
        self.ingest = httpx.Client(base_url=f"http://127.0.0.1:{self.ingest_port}", auth=("demo", ""), timeout=15)
        self._stack = ExitStack()
        for client in (self.store, self.simulator, self.ingest):
            self._stack.callback(client.close)
        self._lock = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        log = self._stack.enter_context((self.directory / "log").open("wb"))
        self._supervisor = self._stack.enter_context(Supervisor(lambda _: None, output=log))
        self._supervisor.start(
            # With "everysec" a kill may lose the writes of the last seconds when the disk is busy.
            programs.embedded_redis(f"redis://127.0.0.1:{self.redis_port}/0", self.directory / "redis", fsync="always"),
            programs.simulator(self.simulator_port, PAIRS),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._stack.close()

    def start(self, redis_url: str, track_url: str, *, order: str, settle_s: float, reorder_ms: int) -> None:
        """Start ingest and three workers; from now on every process that ends is started again."""
        config = self.directory / "segue.toml"
        config.write_text(configuration(batch_items=10, delivery={"order": order, "requests_per_s": 1000}))
        variables = environment(
            redis_url,
            track_url,
            config,
            SEGUE_SETTLE_S=str(settle_s),
            SEGUE_REORDER_MS=str(reorder_ms),
            SEGUE_LEASE_S="6",
            SEGUE_RETRY_BASE_S="0.2",
            SEGUE_SWEEP_S="0.5",
        )
        self._supervisor.start(
            *programs.workers(3, variables), programs.ingest("127.0.0.1", self.ingest_port, variables)
        )
        threading.Thread(target=self._watch, daemon=True).start()

    def kill(self, name: str) -> None:
        """Kill a process with SIGKILL, if it runs."""
        with self._lock:
            pid = self._supervisor.pids.get(name)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)

    def settle_down(self) -> None:
        """Wait until everything is delivered and applied."""
        until = time.monotonic() + 300
        while self._waiting() or self.simulator.get("/_sim/stats").json()["pending"]:
            if time.monotonic() > until:
                raise SystemExit(f"events still wait after five minutes; the log is in {self.directory}")
            time.sleep(0.2)

    def _waiting(self) -> int:
        try:
            return lanes.stats(lanes.Queue(client=self.store, name="demo")).waiting
        except redis.RedisError:
            return 1

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            with self._lock:
                self._supervisor.restart_ended()
