"""The processes of a benchmark on loopback: starting, loading and stopping them, and what each of them costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import redis

from console.local import programs
from console.local.supervisor import Program, Supervisor
from tests.pipeline import configuration, environment

ROOT = Path(__file__).parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")
DEADLINE_S = 180.0

Figures = dict[str, Any]


def unlimited(batch_items: int = 100, **delivery: object) -> str:
    """Return the configuration of one workspace whose rate has no limit that matters here."""
    return configuration(batch_items=batch_items, delivery={"requests_per_s": 10_000, **delivery})


def cpu_s(pid: int) -> float:
    """Return the seconds of processor that the process, and its children that have ended, used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def rss_mb(pid: int) -> float:
    """Return the resident memory of the process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def children(pid: int) -> list[int]:
    """Return the children of the process and their descendants."""
    own = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return own + [descendant for child in own for descendant in children(child)]


def is_ok(address: str) -> Callable[[int], bool]:
    """Return a check for the supervisor: whether the address answers with 2xx."""

    def answers(_: int) -> bool:
        try:
            return httpx.get(address, timeout=2).is_success
        except httpx.HTTPError:
            return False

    return answers


@contextmanager
def stopped(pids: Iterable[int]) -> Iterator[None]:
    """Stop the processes with SIGSTOP, and let them continue at the end."""
    pids = list(pids)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


class Stage:
    """Redis with an append-only file flushed every second, a sink, and the processes that are started beside them.

    The sink answers after `latency_ms`, drawn evenly between the two. `config` is the TOML document of all that is
    started; `variables` are added to their environment.
    """

    def __init__(self, config: str, latency_ms: tuple[float, float] = (0.0, 0.0), **variables: str) -> None:
        self.redis_port, self.sink_port, self.port = (programs.free_port() for _ in range(3))
        self.redis_url = f"redis://127.0.0.1:{self.redis_port}/0"
        self.store = redis.Redis.from_url(self.redis_url, socket_timeout=60)
        self._config = config
        self._variables = {"PYTHONPATH": str(ROOT)} | variables
        self._latency_ms = latency_ms
        self._stack = ExitStack()
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{self.sink_port}", timeout=60)

    def __enter__(self) -> Self:
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-bench-")))
        config = self.directory / "segue.toml"
        config.write_text(self._config)
        sink_url = f"http://127.0.0.1:{self.sink_port}"
        self.environment = environment(self.redis_url, sink_url, config, **self._variables)
        log = self._stack.enter_context((self.directory / "log").open("wb"))
        self.supervisor = self._stack.enter_context(Supervisor(lambda line: print(line, file=sys.stderr), output=log))
        sink = [sys.executable, "-m", "bench.support.sink", str(self.sink_port), *map(str, self._latency_ms)]
        self.supervisor.start(
            programs.embedded_redis(self.redis_url, self.directory / "redis"),
            Program("sink", "sink", sink, self.environment, is_ok(f"{sink_url}/figures")),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def start_segue(self, workers: int = 2) -> None:
        """Start ingest and that many worker processes."""
        self.supervisor.start(
            *programs.workers(workers, self.environment), programs.ingest("127.0.0.1", self.port, self.environment)
        )

    def start_baseline(self, name: str, workers: int = 2) -> int:
        """Start the ingest and workers of a baseline (bench/support/baselines.py); return the port of its ingest."""
        port = programs.free_port()
        serve = [sys.executable, "-m", "uvicorn", "--factory", f"bench.support.baselines:{name}_ingest"]
        serve += ["--port", str(port), "--log-level", "warning"]
        is_ready = is_ok(f"http://127.0.0.1:{port}/ready")
        workers_of = self._stream if name in ("stream", "scripted") else self._celery
        ingest = Program(f"ingest-{name}", "ingest", serve, self.environment, is_ready)
        self.supervisor.start(ingest, *workers_of(name, workers))
        return port

    def _celery(self, name: str, workers: int) -> list[Program]:
        """Return one Celery worker with a pool of that many processes."""
        command = (
            f"-m celery -A bench.support.baselines --quiet worker -P prefork -c {workers} -Q baseline:{name}".split()
        )
        single = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-n", f"{name}@bench", "-l", "WARNING"]
        arguments = [sys.executable, *command, *single]
        return [Program(name, "worker", arguments, self.environment, lambda pid: len(children(pid)) >= workers)]

    def _stream(self, name: str, workers: int) -> list[Program]:
        """Return processes that read the baseline's stream, each as a consumer named after its process id."""
        stream, group = f"baseline:{name}", "consumers"
        self.store.xgroup_create(stream, group, id="0", mkstream=True)

        def consumes(pid: int) -> bool:
            return any(consumer["name"] == str(pid).encode() for consumer in self.store.xinfo_consumers(stream, group))

        arguments = [sys.executable, "-m", "bench.support.baselines", name]
        return [Program(f"{name}-{n}", "worker", arguments, self.environment, consumes) for n in range(1, workers + 1)]

    def cpu_s(self) -> dict[str, float]:
        """Return the processor seconds so far, by role: ingest, redis, sink, ledger and workers."""
        seconds: dict[str, float] = defaultdict(float)
        for name, pid in self.supervisor.pids.items():
            kind = name.partition("-")[0]
            seconds[kind if kind in ("ingest", "redis", "sink", "ledger") else "workers"] += sum(
                map(cpu_s, (pid, *children(pid)))
            )
        return dict(seconds)

    def sink(self) -> Figures:
        """Return what the sink has seen since it was last reset."""
        seen: Figures = self._http.get("/figures").json()
        return seen

    def reset_sink(self) -> None:
        """Let the sink count from zero."""
        self._http.post("/reset")

    def load(
        self, port: int, events: int, *, batch: int, connections: int = 8, people: int = 1000, rate: float = 0
    ) -> Figures:
        """Send the events; return the figures of `bench.support.load` when all are accepted. `rate` is in events/s."""
        arguments = [port, events, batch, connections, people, rate]
        command = [sys.executable, "-m", "bench.support.load", *map(str, arguments)]
        done = subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        sent: Figures = json.loads(done.stdout)
        if sent["refused"]:
            raise SystemExit(f"refused with {sent['refused']}")
        return sent

    def await_operations(self, count: int) -> Figures:
        """Wait until the sink has seen that many operations, and return its figures."""
        until = time.monotonic() + DEADLINE_S
        while (seen := self.sink())["operations"] < count:
            if time.monotonic() > until:
                raise SystemExit(f"the sink saw {seen['operations']} of {count} operations within {DEADLINE_S} s")
            time.sleep(0.05)
        return seen

    @contextmanager
    def only(self, *systems: str) -> Iterator[None]:
        """Suspend all processes but Redis, the sink and those of these systems: idle processes use time as well."""
        suspended = [
            pid
            for name, pid in self.supervisor.pids.items()
            if name not in ("redis", "sink") and self._system(name) not in systems
        ]
        suspended += [child for pid in suspended for child in children(pid)]
        with stopped(suspended):
            yield

    def _system(self, name: str) -> str:
        """Return the system that the process belongs to: "segue", or a baseline by name."""
        kind, _, rest = name.partition("-")
        return "segue" if kind == "worker" or name == "ingest" else rest if kind == "ingest" else kind

    def rate(self, port: int, events: int, *, batch: int = 100, connections: int = 8, rate: float = 0) -> float:
        """Send the events and return the events/s from the first request to the sink's last answer."""
        self.reset_sink()
        sent = self.load(port, events, batch=batch, connections=connections, rate=rate)
        seen = self.await_operations(events)
        return float(events / (seen["last_at"] - sent["started_at"]))

    def drain_s(self, workers: str, port: int, events: int, *, people: int = 1000) -> float:
        """Build up a backlog; return the seconds that the processes whose names begin with `workers` take for it."""
        pids = [pid for name, pid in self.supervisor.pids.items() if name.startswith(workers)]
        pids += [child for pid in pids for child in children(pid)]
        self.reset_sink()
        with stopped(pids):
            self.load(port, events, batch=100, connections=min(people, 8), people=people)
        started_at = time.time()
        return float(self.await_operations(events)["last_at"] - started_at)

    def check_order(self) -> None:
        """End the benchmark when the sink has seen an operation after a later one of the same person."""
        disordered = self.sink()["disordered"]
        if disordered:
            raise SystemExit(f"{disordered} operations came out of order")
