"""What history costs: its rate, its memory, what a kill repeats, and the latency of live events meanwhile.

    python -m bench.history [LINES]

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. `segue send` sends LINES (100,000) unsorted track
events of 100,000 people, in four compressed files, with RATE events a second at most. It is killed KILLS times: once
while it sorts, then at random moments while it sends. Live events come in meanwhile as in `bench.replay`, LIVE_PER_S a
second; their baseline is the same traffic before and after.

    history.sorted       records a second that are read, checked and sorted
    history.rate         events a second while it sends, with the kills and starts
    history.memory       the most resident memory of a sender; the baseline is that of a transfer of a hundredth
    history.lost         events that never arrived at the service
    history.twice        events that arrived twice
    history.disordered   events that arrived behind a later one of their person
    history.repeated     events that a killed sender had sent, and the next one sent again; ingest dropped them
    history.live_p50     latency of live events, and _p99; live.sorting, live.starting (behind a kill) and live.sending
                         are of those that arrived in that phase
"""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from pathlib import Path
from typing import Any

import httpx
import orjson
import redis

import bench
import lanes
from bench.replay import BASELINE_S, CONFIG, LIVE_PER_S, PEOPLE, QUEUE, live_events, percentile
from bench.support import asgi_sink
from bench.support.stage import ROOT, is_ok
from console.local import programs
from console.local.supervisor import Program, Supervisor
from tests.pipeline import environment
from tests.queues import default_queue

LINES = 100_000
RATE = int(os.environ.get("RATE", "1000"))
KILLS = int(os.environ.get("KILLS", "5"))
FILES = 4
_STRIDE = 2_654_435_761  # a prime, so that its multiples visit every line once

Json = dict[str, Any]


def run_sink(port: int, count: int) -> None:
    """Answer every request with 200, and check `count` events of history; a GET returns the figures since the last."""
    seen, last = bytearray(count), [-1] * PEOPLE
    faults = {"twice": 0, "disordered": 0}
    waits: list[tuple[float, float]] = []

    def count_one(attributes: Json, now: float) -> None:
        if "sent_at" in attributes:
            waits.append((now, now - attributes["sent_at"]))
            return
        number = attributes["number"]
        faults["twice"] += seen[number]
        faults["disordered"] += number < last[number % PEOPLE]
        seen[number], last[number % PEOPLE] = 1, number

    def take(body: bytes) -> None:
        now = time.time()
        for item in orjson.loads(body)["batch"]:
            count_one(item.get("attributes", {}), now)

    def figures() -> Json:
        found = faults | {"arrived": sum(seen), "waits": waits.copy()}
        waits.clear()
        return found

    asgi_sink.serve(port, take, figures)


def write_archive(folder: Path, count: int) -> None:
    """Write events numbered by their times, in an order that has nothing to do with it."""
    folder.mkdir()
    for file in range(FILES):
        with gzip.open(folder / f"{file}.gz", "wb", compresslevel=1) as lines:
            for index in range(file * count // FILES, (file + 1) * count // FILES):
                number = index * _STRIDE % count
                second = number // 10
                time_of = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(1_704_067_200 + second))
                event = {
                    "type": "track",
                    "event": "Order Completed",
                    "userId": f"user {number % PEOPLE}",
                    "messageId": f"h{number}",
                    "timestamp": f"{time_of}.{number % 10}00Z",
                    "properties": {"number": number, "total": 129.95, "currency": "EUR", "coupon": "x" * 100},
                }
                lines.write(orjson.dumps(event) + b"\n")


class Sender:
    """`segue send`, started again after each kill. `memory` is the most of all processes, in MB."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.memory = 0.0
        self._work = folder.with_name(f"{folder.name}.segue")
        self._command = [sys.executable, "-m", "console.cli", "send", str(folder), "--rate", str(RATE)]
        self._environment = os.environ | variables
        self.start()

    def start(self) -> None:
        """Start a process that goes on."""
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        """Kill the process."""
        self._process.send_signal(signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Return the exit code of the process."""
        _, status, used = os.wait4(self._process.pid, 0)
        self.memory = max(self.memory, used.ru_maxrss / 1024)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return self._process.returncode

    def checkpoint(self) -> Json:
        """Return the checkpoint."""
        try:
            found: Json = json.loads((self._work / "checkpoint.json").read_bytes())
        except FileNotFoundError:
            found = {"stage": "reading", "acknowledged": 0}
        return found

    def wait_until(self, acknowledged: int) -> None:
        """Wait until it sends, and so many events are acknowledged."""
        while (state := self.checkpoint())["stage"] == "reading" or state["acknowledged"] < acknowledged:
            if self._process.poll() is not None:
                raise SystemExit(f"segue send ended with {self._process.returncode}")
            time.sleep(0.1)


def send(sender: Sender, count: int) -> list[tuple[str, float]]:
    """Send the archive with kills; return the phases ("sorting", "starting", "sending") and when each began."""
    chance, phases = random.Random(1), [("sorting", time.time())]
    time.sleep(3)  # it sorts
    if KILLS:
        sender.kill()
        sender.start()
    sender.wait_until(0)
    phases.append(("sending", time.time()))
    for kill in range(1, KILLS):
        sender.wait_until(count * kill // (KILLS + 1))
        time.sleep(chance.uniform(0, 1))
        sender.kill()
        phases.append(("starting", time.time()))
        acknowledged = sender.checkpoint()["acknowledged"]
        sender.start()
        sender.wait_until(acknowledged + 1)
        phases.append(("sending", time.time()))
    if code := sender.wait():
        raise SystemExit(f"segue send ended with {code}")
    return phases


def waits_by_phase(waits: list[tuple[float, float]], phases: list[tuple[str, float]]) -> dict[str, list[float]]:
    """Return the waits of live events, in seconds, by the phase in which each arrived."""
    begins, found = [began_at for _, began_at in phases], dict[str, list[float]]()
    for arrived_at, wait in waits:
        name, _ = phases[max(bisect_right(begins, arrived_at) - 1, 0)]
        found.setdefault(name, []).append(wait)
    return found


def smallest_mb(directory: Path, count: int, variables: dict[str, str]) -> float:
    """Return the memory of a dry run of a hundredth of the events."""
    write_archive(directory / "small", count // 100)
    command = [sys.executable, "-m", "console.cli", "send", str(directory / "small"), "--dry-run"]
    process = subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_maxrss / 1024


def measure(client: redis.Redis, variables: dict[str, str], directory: Path, count: int, urls: tuple[str, str]) -> None:
    """Send the archive beside live events. `urls` are those of ingest and of the sink."""
    ingest, sink = urls
    queue = default_queue(client, QUEUE)
    baseline_mb = smallest_mb(directory, count, variables)
    with live_events(ingest):
        time.sleep(3)  # the processes warm up
        httpx.get(sink)
        time.sleep(BASELINE_S)
        usual = httpx.get(sink).json()["waits"]
        sender = Sender(directory / "archive", variables)
        phases, ended_at = send(sender, count), time.time()
        sorted_at = phases[1][1]
        while lanes.stats(queue).waiting > LIVE_PER_S:
            time.sleep(0.05)
        found = httpx.get(sink, timeout=60).json()
        waits = waits_by_phase(found["waits"], phases)
        time.sleep(BASELINE_S)
        usual += httpx.get(sink).json()["waits"]
    bench.figure("history.events", count, "events")
    bench.figure("history.sorted", count / (sorted_at - phases[0][1]), "events/s")
    bench.figure("history.rate", count / (ended_at - sorted_at), "events/s")
    bench.figure("history.memory", sender.memory, "MB", baseline_mb)
    bench.figure("history.lost", count - found["arrived"], "events")
    bench.figure("history.twice", found["twice"], "events")
    bench.figure("history.disordered", found["disordered"], "events")
    bench.figure("history.repeated", lanes.stats(queue).duplicates_total, "events")
    report_waits("history.live", [wait for _, wait in found["waits"]], [wait for _, wait in usual])
    for phase, of_phase in waits.items():
        report_waits(f"history.live.{phase}", of_phase, [wait for _, wait in usual])


def report_waits(name: str, waits: list[float], usual: list[float]) -> None:
    """Print the median and the 99th percentile of waits in seconds, beside those of the baseline."""
    for share in (0.5, 0.99):
        figures = (percentile(each, share) * 1000 for each in (waits, usual))
        bench.figure(f"{name}_p{share * 100:.0f}", next(figures), "ms", next(figures))


def main(count: int) -> None:
    """Write the archive, start the processes and measure."""
    with tempfile.TemporaryDirectory() as name, Supervisor(lambda _: None, output=None) as supervisor:
        directory = Path(name)
        config = directory / "segue.toml"
        config.write_text(CONFIG)
        redis_port, sink_port, ingest_port = (programs.free_port() for _ in range(3))
        ingest, sink = (programs.url(programs.LOOPBACK, port) for port in (ingest_port, sink_port))
        redis_url = f"redis://{programs.LOOPBACK}:{redis_port}/0"
        variables = environment(redis_url, sink, config, PYTHONPATH=str(ROOT), SEGUE_INGEST_PORT=str(ingest_port))
        write_archive(directory / "archive", count)
        arguments = [sys.executable, "-m", "bench.history", "sink", str(sink_port), str(count)]
        supervisor.start(
            programs.embedded_redis(redis_url, directory / "redis"),
            Program("sink", "sink", arguments, variables, is_ok(sink)),
        )
        with redis.Redis.from_url(redis_url, socket_timeout=60) as client:
            supervisor.start(
                *programs.workers(2, variables), programs.ingest(programs.LOOPBACK, ingest_port, variables)
            )
            measure(client, variables, directory, count, (ingest, sink))


if __name__ == "__main__":
    if sys.argv[1:2] == ["sink"]:
        run_sink(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else LINES)
