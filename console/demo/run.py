"""`segue demo`: the main job on a sample, with a worker killed half-way, and every person compared with the oracle.

Everything runs as it does in production, as processes of its own on loopback: a real Redis server, a simulated
Customer.io, the HTTP endpoint, Celery workers. Nothing is left behind.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import lanes
from console.demo import oracle, sample
from console.demo.oracle import Person
from console.errors import CommandError
from console.local import programs
from console.local.supervisor import Supervisor

_QUEUE = "demo"
_BATCH = 100
_LOOK_S = 0.1
# How much of the processes' own words is shown when something goes wrong.
_TOLD_BYTES = 4_000
# What Customer.io itself adds to a person.
_SET_BY_THE_SERVICE = frozenset({"id", "email", "cio_id", "anonymous_id", "created_at"})
# With nothing delivered for this long, something hangs.
_PATIENCE_S = 60.0
# The people of a demo do not wait: leases end soon after a kill, and the simulator applies at once.
_IMPATIENT = {
    "SEGUE_LEASE_S": "5",
    "SEGUE_RETRY_BASE_S": "0.1",
    "SEGUE_SETTLE_S": "0.05",
    "SEGUE_SWEEP_S": "0.25",
    "SEGUE_CONCURRENCY": "4",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a demo. `differences` has one line for each person who is not as the oracle says."""

    sent: int
    delivered: int
    dead: int
    requests: int
    people: int
    order_violations: int
    killed: int | None
    took_s: float
    differences: tuple[str, ...]

    @property
    def lost(self) -> int:
        return self.sent - self.delivered - self.dead

    @property
    def is_right(self) -> bool:
        return not (self.lost or self.dead or self.order_violations or self.differences)


def run(console: Console, *, events: int, seed: int, workers: int) -> Report:
    """Send at least `events` events, wait until all are delivered, and report; progress goes to `console`.

    Raises CommandError when a process cannot start or when nothing is delivered any more.
    """
    told = sample.events(events, seed)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="segue-demo-") as name, (Path(name) / "log").open("w+b") as log:
        try:
            with Supervisor(lambda line: console.print(line, style="dim"), output=log) as supervisor:
                console.print("starting Redis, a simulated Customer.io, the endpoint and the workers", style="dim")
                pipeline = _start(supervisor, Path(name), workers)
                return _carry(told, pipeline, console)
        except CommandError as error:
            log.seek(0)
            said = log.read()[-_TOLD_BYTES:].decode(errors="replace").strip()
            raise CommandError(f"{error}\n{said}" if said else str(error)) from None


@dataclass(frozen=True, slots=True)
class _Pipeline:
    supervisor: Supervisor
    store: redis.Redis
    ingest: httpx.Client
    simulator: httpx.Client

    def stats(self) -> lanes.Stats:
        return lanes.stats(lanes.Queue(client=self.store, name=_QUEUE))


def _start(supervisor: Supervisor, directory: Path, workers: int) -> _Pipeline:
    host, redis_port, simulator_port, ingest_port = programs.LOOPBACK, *(programs.free_port() for _ in range(3))
    os.environ.pop("SEGUE_CONFIG", None)
    environment = _IMPATIENT | {
        "REDIS_URL": f"redis://{host}:{redis_port}/0",
        "SEGUE_TRACK_URL": programs.url(host, simulator_port),
    }
    supervisor.start(
        programs.embedded_redis(redis_port, directory / "redis"),
        programs.simulator(host, simulator_port, [("demo", "demo")]),
    )
    supervisor.start(*programs.workers(workers, environment), programs.ingest(host, ingest_port, environment))
    return _Pipeline(
        supervisor,
        redis.Redis.from_url(environment["REDIS_URL"], socket_timeout=10),
        httpx.Client(base_url=programs.url(host, ingest_port), auth=("demo", ""), timeout=30),
        httpx.Client(base_url=programs.url(host, simulator_port), timeout=30),
    )


def _carry(told: list[sample.Event], pipeline: _Pipeline, console: Console) -> Report:
    started_at = time.monotonic()
    with _progress(console) as progress:
        sent = progress.add_task("sent", total=len(told))
        delivered = progress.add_task("delivered", total=len(told))
        killed = None
        for first in range(0, len(told), _BATCH):
            if killed is None and first >= len(told) / 2:
                killed = _kill_a_worker(pipeline, console)
            batch = told[first : first + _BATCH]
            _post(pipeline.ingest, batch)
            pipeline.supervisor.mend()
            progress.advance(sent, len(batch))
            progress.update(delivered, completed=pipeline.stats().delivered_total)
        _drain(pipeline, lambda stats: progress.update(delivered, completed=stats.delivered_total))
    return _report(told, pipeline, killed, time.monotonic() - started_at)


def _post(ingest: httpx.Client, batch: list[sample.Event]) -> None:
    answer = ingest.post("/v1/batch", json={"batch": batch})
    if not answer.is_success:
        raise CommandError(f"ingest answered HTTP {answer.status_code}: {answer.text}")


def _kill_a_worker(pipeline: _Pipeline, console: Console) -> int:
    pid = pipeline.supervisor.pids["worker-1"]
    os.kill(pid, signal.SIGKILL)
    console.print(f"worker-1 (process {pid}) killed with SIGKILL, half-way", style="yellow")
    return pid


def _drain(pipeline: _Pipeline, tell: Callable[[lanes.Stats], None]) -> None:
    """Wait until nothing is left on the queue; raise CommandError when nothing moves any more."""
    done, moved_at = -1, time.monotonic()
    while (stats := pipeline.stats()).waiting:
        tell(stats)
        if stats.delivered_total + stats.buried_total != done:
            done, moved_at = stats.delivered_total + stats.buried_total, time.monotonic()
        if time.monotonic() - moved_at > _PATIENCE_S:
            raise CommandError(f"nothing was delivered for {_PATIENCE_S:.0f} s; {stats.waiting} events wait")
        pipeline.supervisor.mend()
        time.sleep(_LOOK_S)
    tell(stats)


def _report(told: list[sample.Event], pipeline: _Pipeline, killed: int | None, took_s: float) -> Report:
    stats = pipeline.stats()
    seen = pipeline.simulator.get("/_sim/stats").json()
    found = [read_person(entry) for entry in pipeline.simulator.get("/_sim/people").json()["people"]]
    return Report(
        sent=len(told),
        delivered=stats.delivered_total,
        dead=stats.dead,
        requests=sum(seen["requests"].values()),
        people=len(found),
        order_violations=seen["order_violations"],
        killed=killed,
        took_s=took_s,
        differences=tuple(differences(oracle.people(told), found)),
    )


def read_person(entry: dict[str, Any]) -> Person:
    """Return a person of the simulator in the oracle's form."""
    deeds: dict[str, list[str]] = {}
    for event in entry["events"]:
        deeds.setdefault(event["attributes"]["chapter"], []).append(event["name"])
    return Person(
        id=entry["id"],
        email=entry["email"],
        attributes={name: value for name, value in entry["attributes"].items() if name not in _SET_BY_THE_SERVICE},
        devices={device["token"]: device["platform"] for device in entry["devices"]},
        deeds=deeds,
    )


def differences(expected: dict[str, Person], found: Sequence[Person]) -> Iterator[str]:
    """Yield one line for everybody who is missing, or too many, or not as expected: in what, and how."""
    by_name = {person.name: person for person in found}
    if len(by_name) != len(found):
        yield f"{len(found) - len(by_name)} people have the name of another one"
    for name in sorted(expected.keys() | by_name.keys()):
        if name not in by_name:
            yield f"{name} is missing"
        elif name not in expected:
            yield f"{name} should not exist"
        elif by_name[name] != expected[name]:
            wanted, got = asdict(expected[name]), asdict(by_name[name])
            yield f"{name}: " + "; ".join(
                f"{part} should be {wanted[part]}, but is {got[part]}" for part in wanted if wanted[part] != got[part]
            )


def render(report: Report) -> Table:
    """Return the report as a table."""
    table = Table(title="Segue demo", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, figure in (
        ("events sent", report.sent),
        ("events delivered", report.delivered),
        ("requests made", report.requests),
        ("people", report.people),
        ("people not as expected", len(report.differences)),
        ("order violations", report.order_violations),
        ("dead letters", report.dead),
        ("lost", report.lost),
        ("workers killed", int(report.killed is not None)),
    ):
        table.add_row(name, f"{figure:,}")
    table.add_row("seconds", f"{report.took_s:.1f}")
    return table


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)
