"""What clients that leave their requests unfinished cost other clients, where ingest may open 256 files.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. There are four kinds of such clients (see
bench/support/unfinished.py): 400 connections that send nothing, 400 slow heads, 400 slow bodies and 4 endless heads.
Beside them eight clients send single events at a steady rate: four over connections that stay open, four over a new one
for each event. The time runs from the opening of a new connection, or from when the request is written, to the
response. The baseline is the 99th percentile of the same clients alone, in turns with each kind. A request that is not
accepted ends the benchmark. All come from one address, that of a trusted proxy, so the limit of one address does not
help.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import quantiles

import bench
from bench.support.load import requests
from bench.support.stage import Stage, rss_mb, unlimited
from console.local import programs

KINDS = {"idle": 400, "heads": 400, "bodies": 400, "endless": 4}
OPEN_FILES = 256
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = float(os.environ.get("SECONDS", "5"))
CLIENTS, PER_S = 8, 40
_WARM_UP_S = 3.0  # until all connections are open and the first ones give way


def measure(stage: Stage) -> None:
    """Measure each kind of client and none in turns."""
    ingest = programs.ingest("127.0.0.1", stage.port, stage.environment)
    limited = ["sh", "-c", f'ulimit -n {OPEN_FILES}; exec "$@"', "sh", *ingest.arguments]
    stage.supervisor.start(replace(ingest, arguments=limited))
    pid = stage.supervisor.pids["ingest"]
    latencies(stage.port)
    fresh_mb = rss_mb(pid)
    for kind, count in KINDS.items():
        alone: list[float] = []
        beside: list[float] = []
        most_mb = 0.0
        for _ in range(ROUNDS):
            alone += latencies(stage.port)
            with unfinished(kind, stage.port, count):
                time.sleep(_WARM_UP_S)
                beside += latencies(stage.port)
                most_mb = max(most_mb, rss_mb(pid))
        bench.figure(f"connections.p99.{kind}", p99(beside) * 1000, "ms", p99(alone) * 1000)
        bench.figure(f"connections.memory.{kind}", most_mb, "MB", fresh_mb)


@contextmanager
def unfinished(kind: str, port: int, count: int) -> Iterator[None]:
    """Run clients that leave their requests unfinished."""
    command = [sys.executable, "-m", "bench.support.unfinished", kind, str(port), str(count)]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def latencies(port: int) -> list[float]:
    """Return the seconds that each request of the other clients took."""
    count = int(SECONDS * PER_S)
    rows = requests(CLIENTS * count, 1, CLIENTS, 1000)

    async def run() -> list[float]:
        found = await asyncio.gather(*(send(port, rows[index], index % 2 == 0) for index in range(CLIENTS)))
        return [latency for own in found for latency in own]

    return asyncio.run(run())


async def send(port: int, pending: list[bytes], is_kept: bool) -> list[float]:
    """Send the requests at a steady rate, each over a new connection unless one is kept; return their times."""
    kept = await asyncio.open_connection("127.0.0.1", port) if is_kept else None
    found: list[float] = []
    due = time.monotonic()
    for request in pending:
        due += 1 / PER_S
        await asyncio.sleep(due - time.monotonic())
        started = time.monotonic()
        reader, writer = kept or await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"a request was refused: {head.decode()}")
        found.append(time.monotonic() - started)
        await reader.readexactly(int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))
        if not is_kept:
            writer.close()
    return found


def p99(values: list[float]) -> float:
    """Return the 99th percentile."""
    return quantiles(values, n=100)[-1]


if __name__ == "__main__":
    with Stage(unlimited()) as stage:
        measure(stage)
