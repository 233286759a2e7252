"""The processes of a benchmark on loopback, what each of them costs, and how a figure is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import redis

from console.local import programs
from console.local.supervisor import Program, Supervisor

_TICKS = os.sysconf("SC_CLK_TCK")
DEADLINE_S = 180.0

# One workspace without a limit to its rate.
CONFIG = """
[sources.demo]
write_key = "demo"
destinations = ["demo"]
[destinations.demo]
site_id = "demo"
api_key = "demo"
batch_items = 100
[destinations.demo.delivery]
requests_per_s = 10000
"""

Figures = dict[str, Any]


def report(bench: str, value: float, unit: str, baseline: float | None = None) -> None:
    """Print one figure; the ratio is the value over the baseline."""
    line: Figures = {"bench": bench, "value": round(value, 3), "unit": unit}
    if baseline:
        line |= {"baseline": round(baseline, 3), "ratio": round(value / baseline, 3)}
    print(json.dumps(line), flush=True)


def cpu_s(pid: int) -> float:
    """Return the seconds of processor that the process, and its children that have ended, used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def rss_mb(pid: int) -> float:
    """Return the resident memory of the process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def children(pid: int) -> list[int]:
    """Return the processes that it has started, theirs too."""
    own = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return own + [descendant for child in own for descendant in children(child)]


def is_ok(address: str) -> Callable[[int], bool]:
    """Return whether the address answers, as the supervisor asks."""

    def answers(_: int) -> bool:
        try:
            return httpx.get(address, timeout=2).is_success
        except httpx.HTTPError:
            return False

    return answers


class Stage:
    """A Redis that writes its log each second, a sink, and whatever is started beside them."""

    def __init__(self, latency_ms: tuple[float, float] = (0.0, 0.0), **environment: str) -> None:
        self.redis_port, self.sink_port, self.port = (programs.free_port() for _ in range(3))
        self.redis_url = f"redis://127.0.0.1:{self.redis_port}/0"
        self.store = redis.Redis.from_url(self.redis_url, socket_timeout=60)
        self.environment = {
            "REDIS_URL": self.redis_url,
            "SEGUE_TRACK_URL": f"http://127.0.0.1:{self.sink_port}",
            "SEGUE_CONFIG": "",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        } | environment
        self._latency_ms = latency_ms
        self._stack = ExitStack()
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{self.sink_port}", timeout=60)

    def __enter__(self) -> Self:
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-bench-")))
        log = self._stack.enter_context((self.directory / "log").open("wb"))
        self.supervisor = self._stack.enter_context(Supervisor(lambda line: print(line, file=sys.stderr), output=log))
        sink = [sys.executable, "-m", "bench.support.sink", str(self.sink_port), *map(str, self._latency_ms)]
        self.supervisor.start(
            programs.embedded_redis(self.redis_port, self.directory / "redis"),
            Program("sink", "sink", sink, self.environment, is_ok(f"http://127.0.0.1:{self.sink_port}/figures")),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def configure(self, document: str) -> None:
        """Let what is started from now on read this configuration."""
        file = self.directory / "segue.toml"
        file.write_text(document)
        self.environment["SEGUE_CONFIG"] = str(file)

    def start(self, *names: Program) -> None:
        self.supervisor.start(*names)

    def start_segue(self, workers: int = 2) -> None:
        """Start ingest and that many worker processes."""
        self.start(
            *programs.workers(workers, self.environment), programs.ingest("127.0.0.1", self.port, self.environment)
        )

    def start_rival(self, name: str, workers: int = 2) -> int:
        """Start the ingest and the workers of a rival, and return the port of its ingest."""
        port = programs.free_port()
        serve = [
            sys.executable,
            "-m",
            "uvicorn",
            "--factory",
            f"bench.support.rivals:{name}_ingest",
            "--port",
            str(port),
        ]
        address = f"http://127.0.0.1:{port}/ready"
        ingest = Program(
            f"ingest-{name}", "ingest", [*serve, "--log-level", "warning"], self.environment, is_ok(address)
        )
        self.start(
            ingest, *(self._stream(name, workers) if name in ("stream", "scripted") else self._celery(name, workers))
        )
        return port

    def _celery(self, name: str, workers: int) -> list[Program]:
        """Celery's own pool of that many processes."""
        command = f"-m celery -A bench.support.rivals --quiet worker -P prefork -c {workers} -Q rival:{name}".split()
        alone = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-n", f"{name}@bench", "-l", "WARNING"]
        arguments = [sys.executable, *command, *alone]
        return [Program(name, "worker", arguments, self.environment, lambda pid: len(children(pid)) >= workers)]

    def _stream(self, name: str, workers: int) -> list[Program]:
        """Processes that read the rival's stream, each as a consumer named after its pid."""
        stream, group = f"rival:{name}", "consumers"
        self.store.xgroup_create(stream, group, id="0", mkstream=True)

        def consumes(pid: int) -> bool:
            return any(consumer["name"] == str(pid).encode() for consumer in self.store.xinfo_consumers(stream, group))

        arguments = [sys.executable, "-m", "bench.support.rivals", name]
        return [Program(f"{name}-{n}", "worker", arguments, self.environment, consumes) for n in range(1, workers + 1)]

    def cpu_s(self) -> Figures:
        """Return the processor seconds of each process so far, by name."""
        return {
            name: sum(map(cpu_s, (pid, *children(pid))))
            for name, pid in self.supervisor.pids.items()
            if pid is not None
        }

    def sink(self) -> Figures:
        """Return what the sink has seen since it was last reset."""
        told: Figures = self._http.get("/figures").json()
        return told

    def reset_sink(self) -> None:
        self._http.post("/reset")

    def load(
        self, port: int, events: int, *, batch: int, connections: int = 8, people: int = 1000, rate: float = 0
    ) -> Figures:
        """Send the events and return what the sender says, once all are accepted."""
        arguments = [port, events, batch, connections, people, rate]
        command = [sys.executable, "-m", "bench.support.load", *map(str, arguments)]
        done = subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        told: Figures = json.loads(done.stdout)
        if told["refused"]:
            raise SystemExit(f"refused with {told['refused']}")
        return told

    def await_operations(self, count: int) -> Figures:
        """Wait until the sink has seen that many operations, and return what it saw."""
        until = time.monotonic() + DEADLINE_S
        while (seen := self.sink())["operations"] < count:
            if time.monotonic() > until:
                raise SystemExit(f"the sink saw {seen['operations']} of {count} operations within {DEADLINE_S} s")
            time.sleep(0.05)
        return seen

    @contextmanager
    def alone(self, *systems: str) -> Iterator[None]:
        """Let only Redis, the sink and the processes of these systems run, so that nobody's idling costs the others."""
        still = [
            pid
            for name, pid in self.supervisor.pids.items()
            if name not in ("redis", "sink") and self._system(name) not in systems
        ]
        still += [child for pid in still for child in children(pid)]
        for pid in still:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in still:
                os.kill(pid, signal.SIGCONT)

    def _system(self, name: str) -> str:
        """Return whose process it is: "segue", or a rival by name."""
        kind, _, rest = name.partition("-")
        return "segue" if kind == "worker" or name == "ingest" else rest if kind == "ingest" else kind

    def rate(self, port: int, events: int, *, batch: int = 100, connections: int = 8, rate: float = 0) -> float:
        """Send the events and return how many a second arrived, from the first request to the sink's last answer."""
        self.reset_sink()
        sent = self.load(port, events, batch=batch, connections=connections, rate=rate)
        seen = self.await_operations(events)
        return float(events / (seen["last_at"] - sent["started_at"]))

    def drain_s(self, workers: str, port: int, events: int, *, people: int = 1000) -> float:
        """Let the events pile up, and return the seconds that the processes of this role take for them."""
        pids = [pid for name, pid in self.supervisor.pids.items() if name.startswith(workers)]
        pids += [child for pid in pids for child in children(pid)]
        self.reset_sink()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            self.load(port, events, batch=100, connections=min(people, 8), people=people)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        started_at = time.time()
        return float(self.await_operations(events)["last_at"] - started_at)

    def check_order(self) -> None:
        """Give up when the sink has seen an operation behind a later one of its person."""
        disordered = self.sink()["disordered"]
        if disordered:
            raise SystemExit(f"{disordered} operations came out of order")
