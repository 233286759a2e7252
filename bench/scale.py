"""What more workers bring when the destination is slow: 1, 2, 4 and 8 worker processes, 50 ms an answer.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. Each process has one thread, so one request in
flight. Requests carry at most 50 events, and the rate has no limit. A backlog of events of 10,000 people is worked off;
the baseline is one process.
"""

from __future__ import annotations

import os
from statistics import median

import bench
from bench.support.stage import Stage, unlimited

LATENCY_MS = 50.0
SECONDS = 5
PER_WORKER_AND_S = 1000 // int(LATENCY_MS) * 50
ROUNDS = int(os.environ.get("ROUNDS", "3"))


def rate(workers: int) -> float:
    """Return the events/s of so many worker processes."""
    events = PER_WORKER_AND_S * SECONDS * workers
    latency_ms = (LATENCY_MS, LATENCY_MS)
    with Stage(unlimited(batch_items=50), latency_ms, SEGUE_CONCURRENCY="1", SEGUE_LEASE_S="300") as stage:
        stage.start_segue(workers)
        rates = [events / stage.drain_s("worker", stage.port, events, people=10_000) for _ in range(ROUNDS)]
        stage.check_order()
        return median(rates)


if __name__ == "__main__":
    single = rate(1)
    bench.figure("scale.1_worker", single, "events/s")
    for workers in (2, 4, 8):
        bench.figure(f"scale.{workers}_workers", rate(workers), "events/s", single)
