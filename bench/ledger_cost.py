"""What a running ledger costs the others: throughput, processor time, and how far behind it is.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. Ingest, two workers and the ledger run. With the
ledger and without take turns; without, its process is stopped, so Redis keeps what workers record. `ledger_cost.cpu` is
the processor time of all processes, which other users of the machine change less than the throughput.

Then RATE events/s pass for SECONDS. `ledger_cost.lag` is the age of the oldest entry that is not in a file, the
greatest that was seen; `ledger_cost.share` is the part of one processor that the ledger used.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from contextlib import nullcontext
from statistics import median

import bench
from bench.support.stage import Stage, cpu_s, stopped, unlimited
from console.local import programs
from delivery.recording import entries
from lanes import keys

ROUNDS = int(os.environ.get("ROUNDS", "6"))
EVENTS = int(os.environ.get("EVENTS", "400000"))  # that take longer than it takes until the ledger writes
RATE = float(os.environ.get("RATE", "20000"))
SECONDS = float(os.environ.get("SECONDS", "60"))
_POLL_S = 0.2
_LOG = keys.LOG.of("demo")


def wait_until_written(stage: Stage) -> None:
    """Wait until the ledger has written everything."""
    while stage.store.llen(_LOG):
        time.sleep(_POLL_S)


def turn(stage: Stage, pid: int, *, is_written: bool) -> tuple[float, dict[str, float]]:
    """Return the throughput, and the processor time of each role for an event, µs; that of the ledger until everything
    is written."""
    before = stage.cpu_s()
    with nullcontext() if is_written else stopped([pid]):
        rate = stage.rate(stage.port, EVENTS)
        after = stage.cpu_s()
    wait_until_written(stage)
    if is_written:
        after["ledger"] = stage.cpu_s()["ledger"]
    return rate, {role: (used_s - before[role]) / EVENTS * 1e6 for role, used_s in after.items()}


def throughput(stage: Stage, pid: int) -> None:
    """Measure the throughput with the ledger and without, in turns. Each round begins with the other one: Redis
    rewrites its append-only file in every second turn or so."""
    alone, written = [], []
    for number in range(ROUNDS):
        for is_written in (number % 2 == 1, number % 2 == 0):
            (written if is_written else alone).append(turn(stage, pid, is_written=is_written))
    bench.figure("ledger_cost", median(rate for rate, _ in written), "events/s", median(rate for rate, _ in alone))
    for role in alone[0][1]:
        used, baseline = (median(turn[role] for _, turn in turns) for turns in (written, alone))
        bench.figure(f"ledger_cost.cpu.{role}", used, "us/event", baseline)
    totals = [median(sum(turn.values()) for _, turn in turns) for turns in (written, alone)]
    bench.figure("ledger_cost.cpu", totals[0], "us/event", totals[1])


def lag(stage: Stage, pid: int) -> None:
    """Measure how far the ledger is behind while events pass at a rate."""
    ended, ages_ms = threading.Event(), [0]

    def watch() -> None:
        while not ended.wait(_POLL_S):
            oldest = stage.store.lrange(_LOG, -1, -1)
            ages_ms.extend(entries.now_ms() - entries.sent_ms(packed) for packed in oldest)

    watcher = threading.Thread(target=watch)
    watcher.start()
    before_s, began = cpu_s(pid), time.monotonic()
    reached = stage.rate(stage.port, int(RATE * SECONDS), rate=RATE)
    used, took_s = cpu_s(pid) - before_s, time.monotonic() - began
    ended.set()
    watcher.join()
    bench.figure("ledger_cost.rate", reached, "events/s")
    bench.figure("ledger_cost.lag", max(ages_ms) / 1000, "s")
    bench.figure("ledger_cost.share", used / took_s, "of a processor")


def main() -> None:
    """Run the benchmark."""
    with (
        tempfile.TemporaryDirectory(prefix="segue-ledger-") as directory,
        Stage(unlimited(), SEGUE_LEDGER_DIR=directory) as stage,
    ):
        stage.start_segue()
        stage.supervisor.start(programs.configured("ledger", stage.environment))
        pid = stage.supervisor.pids["ledger"]
        stage.rate(stage.port, 2_000)
        throughput(stage, pid)
        lag(stage, pid)


if __name__ == "__main__":
    main()
