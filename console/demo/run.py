"""`segue demo`: a sample through the whole pipeline, with requests that overtake each other and a worker killed on the
way; every person is compared with the oracle.

The demo runs the processes of production on loopback: a real Redis server, a simulated Customer.io, the HTTP endpoint
and Celery workers. It stops them and removes their data at the end.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from console.demo.clients import Clients
from console.demo.oracle import Person
from console.errors import CommandError
from console.local import programs
from console.local.supervisor import Supervisor
from delivery import fates
from lanes.server.connect import connect
from lanes.server.redis_url import socket_url

_QUEUE = "demo"
_POLL_S = 0.05
# How much of the output of the processes is printed after an error.
_OUTPUT_BYTES = 4_000
# Attributes that Customer.io itself sets.
_SET_BY_CUSTOMERIO = frozenset({"id", "email", "cio_id", "anonymous_id", "created_at"})
# The demo fails when no event is delivered for this long.
_STALLED_S = 60.0
# A demo is short: leases end soon after a kill, and the simulator applies at once. A busy machine delays requests more
# than a network does, so the window is longer than the default.
_SETTINGS = {
    "SEGUE_LEASE_S": "3",
    "SEGUE_REORDER_MS": "2000",
    "SEGUE_RETRY_BASE_S": "0.1",
    "SEGUE_SETTLE_S": "0.05",
    "SEGUE_SWEEP_S": "0.25",
    "SEGUE_CONCURRENCY": "4",
}


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a demo. `differences` has one line for each person who differs from the oracle."""

    sent: int
    delivered: int
    merged_already: int  # merges that the killed worker had sent, and could not record as sent
    dead: int
    requests: int
    people: int
    reordered: int
    order_violations: int
    killed: int | None
    took_s: float
    differences: tuple[str, ...]

    @property
    def lost(self) -> int:
        """Return the number of events that were neither delivered nor buried."""
        return self.sent - self.delivered - self.merged_already - self.dead

    @property
    def is_right(self) -> bool:
        """Return whether every event was delivered in order and every person is as expected."""
        return not (self.lost or self.dead or self.order_violations or self.differences)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The running processes. `console` is the address of the web console."""

    supervisor: Supervisor
    environment: dict[str, str]
    store: redis.Redis
    ingest: httpx.Client
    simulator: httpx.Client
    console: str

    @property
    def queue(self) -> lanes.Queue:
        """The queue of the demo's destination."""
        return lanes.Queue(client=self.store, name=_QUEUE)


@contextmanager
def started(console: Console, workers: int) -> Iterator[Pipeline]:
    """Start every process; at the end, or with SIGTERM, stop them and remove their data.

    Raises CommandError, also for one of the body, with the end of what the processes wrote.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="segue-demo-") as name, (Path(name) / "log").open("w+b") as log:
        try:
            with Supervisor(lambda line: console.print(line, style="dim"), output=log) as supervisor:
                console.print("starting Redis, a simulated Customer.io, the HTTP endpoint and the workers", style="dim")
                pipeline = _start(supervisor, Path(name), workers)
                console.print(f"the web console is at {pipeline.console} while the demo runs")
                yield pipeline
        except CommandError as error:
            log.seek(0)
            output = log.read()[-_OUTPUT_BYTES:].decode(errors="replace").strip()
            raise CommandError(f"{error}\n{output}" if output else str(error)) from None


def _start(supervisor: Supervisor, directory: Path, workers: int) -> Pipeline:
    host = programs.LOOPBACK
    simulator_port, ingest_port, console_port = (programs.free_port() for _ in range(3))
    for name in ("SEGUE_CONFIG", "SEGUE_BROKER_URL", "SEGUE_BROKER_URL_FILE"):
        os.environ.pop(name, None)
    environment = _SETTINGS | {
        "REDIS_URL": socket_url(directory / "redis.sock"),
        "SEGUE_TRACK_URL": programs.url(host, simulator_port),
        "SEGUE_LEDGER_DIR": str(directory / "ledger"),
        "SEGUE_CONSOLE_AUTH": "none",
    }
    supervisor.start(
        programs.embedded_redis(environment["REDIS_URL"], directory / "redis"),
        programs.simulator(simulator_port, [("demo", "demo")]),
    )
    supervisor.start(*programs.workers(workers, environment), programs.ingest(host, ingest_port, environment))
    supervisor.start(programs.console(host, console_port, environment))
    return Pipeline(
        supervisor,
        environment,
        connect(environment["REDIS_URL"], socket_timeout=10),
        httpx.Client(base_url=programs.url(host, ingest_port), auth=("demo", ""), timeout=30, trust_env=False),
        httpx.Client(base_url=programs.url(host, simulator_port), timeout=30, trust_env=False),
        programs.url(host, console_port),
    )


def deliver(pipeline: Pipeline, console: Console, events: list[sample.Event], seed: int) -> Report:
    """Send the events, wait until all are delivered, and return the report. `console` shows the progress.

    Raises CommandError: no event is delivered for a minute.
    """
    started_at, killed = time.monotonic(), None
    with _progress(console) as progress, Clients(pipeline.ingest, events, seed) as clients:
        sent = progress.add_task("sent", total=len(events))
        delivered = progress.add_task("delivered", total=len(events))
        for sent_count, stats in _until_delivered(len(events), clients, pipeline):
            progress.update(sent, completed=sent_count)
            progress.update(delivered, completed=stats.delivered_total)
            if killed is None and stats.delivered_total >= len(events) / 2:
                killed = _kill_a_worker(pipeline, console)
            pipeline.supervisor.restart_ended()
    return _report(events, pipeline, killed, time.monotonic() - started_at)


def _until_delivered(count: int, clients: Clients, pipeline: Pipeline) -> Iterator[tuple[int, lanes.Stats]]:
    """Yield how many events were sent, and the figures of the queue, until all were sent and none waits.

    Raises CommandError: a request was refused, or no event is delivered for _STALLED_S.
    """
    done, moved_at = -1, time.monotonic()
    while True:
        sent, stats = clients.sent, lanes.stats(pipeline.queue)
        yield sent, stats
        if sent == count and not stats.waiting:
            return
        if (finished := stats.delivered_total + stats.unsent_total + stats.buried_total) != done:
            done, moved_at = finished, time.monotonic()
        if time.monotonic() - moved_at > _STALLED_S:
            raise CommandError(f"no event was delivered for {_STALLED_S:.0f} s; {stats.waiting} events wait")
        time.sleep(_POLL_S)


def _kill_a_worker(pipeline: Pipeline, console: Console) -> int:
    pid = pipeline.supervisor.pids["worker-1"]
    os.kill(pid, signal.SIGKILL)
    console.print(f"worker-1 (process {pid}) killed with SIGKILL", style="yellow")
    return pid


def _report(events: list[sample.Event], pipeline: Pipeline, killed: int | None, took_s: float) -> Report:
    stats = lanes.stats(pipeline.queue)
    counts = pipeline.simulator.get("/_sim/stats").json()
    found = [read_person(entry) for entry in pipeline.simulator.get("/_sim/people").json()["people"]]
    return Report(
        sent=len(events),
        delivered=stats.delivered_total,
        merged_already=sum(
            count.events for count in lanes.fate_totals(pipeline.queue) if count.reason == fates.MERGED_ALREADY
        ),
        dead=stats.dead,
        requests=sum(counts["requests"].values()),
        people=len(found),
        reordered=stats.reordered_total,
        order_violations=counts["order_violations"],
        killed=killed,
        took_s=took_s,
        differences=tuple(differences(oracle.people(events), found)),
    )


def read_person(entry: dict[str, Any]) -> Person:
    """Return a person of the simulator in the oracle's form."""
    activities: dict[str, list[str]] = {}
    for event in entry["events"]:
        activities.setdefault(event["attributes"]["stream"], []).append(event["name"])
    return Person(
        id=entry["id"],
        email=entry["email"],
        attributes={name: value for name, value in entry["attributes"].items() if name not in _SET_BY_CUSTOMERIO},
        devices={device["token"]: device["platform"] for device in entry["devices"]},
        activities=activities,
    )


def differences(expected: dict[str, Person], found: Sequence[Person]) -> Iterator[str]:
    """Yield one line for each person who is missing, unexpected, or differs, with every difference."""
    by_name = {person.name: person for person in found}
    if len(by_name) != len(found):
        yield f"{len(found) - len(by_name)} people have the name of another person"
    for name in sorted(expected.keys() | by_name.keys()):
        if name not in by_name:
            yield f"{name} is missing"
        elif name not in expected:
            yield f"{name} should not exist"
        elif by_name[name] != expected[name]:
            wanted, actual = asdict(expected[name]), asdict(by_name[name])
            yield f"{name}: " + "; ".join(
                f"{part} should be {value}, but is {actual[part]}"
                for part, value in wanted.items()
                if value != actual[part]
            )


def render(report: Report) -> Table:
    """Return the report as a table."""
    table = Table(title="Segue demo", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, figure in (
        ("events sent", report.sent),
        ("events delivered", report.delivered),
        ("merges found done", report.merged_already),
        ("requests made", report.requests),
        ("people", report.people),
        ("people not as expected", len(report.differences)),
        ("events put before later ones", report.reordered),
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
