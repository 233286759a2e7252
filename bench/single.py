"""How many events a second go from HTTP to Customer.io when each comes in a request of its own.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. As bench/throughput.py, but one event a request
over 32 connections. The baseline is naive Celery behind the same endpoint: `delay` in the request, one call an event.
"""

from __future__ import annotations

import os
from statistics import median

import bench
from bench.support.stage import Stage, unlimited

ROUNDS = int(os.environ.get("ROUNDS", "5"))
EVENTS = int(os.environ.get("EVENTS", "16000"))
NAIVE_EVENTS = max(320, EVENTS // 8 // 32 * 32)
CONNECTIONS = 32


def measure(stage: Stage) -> None:
    """Measure Segue and naive Celery in turns."""
    stage.start_segue()
    naive_port = stage.start_baseline("naive")
    ours, theirs, ingest_us = [], [], []
    stage.rate(stage.port, NAIVE_EVENTS, batch=1, connections=CONNECTIONS)
    stage.rate(naive_port, NAIVE_EVENTS, batch=1, connections=CONNECTIONS)
    for _ in range(ROUNDS):
        with stage.only("segue"):
            before_s = stage.cpu_s()["ingest"]
            ours.append(stage.rate(stage.port, EVENTS, batch=1, connections=CONNECTIONS))
            ingest_us.append((stage.cpu_s()["ingest"] - before_s) / EVENTS * 1e6)
            stage.check_order()
        with stage.only("naive"):
            theirs.append(stage.rate(naive_port, NAIVE_EVENTS, batch=1, connections=CONNECTIONS))
    bench.figure("single, against naive Celery", median(ours), "events/s", median(theirs))
    bench.figure("single.processor.ingest", median(ingest_us), "us/event")


if __name__ == "__main__":
    with Stage(unlimited()) as stage:
        measure(stage)
