"""How quickly two workers work off a backlog, against Celery without order at its best.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. The events wait already when the workers
continue: a hundred a task in Celery, one by one in Segue. Both have the same mapping and client.
"""

from __future__ import annotations

import os
from statistics import median

import bench
from bench.support.stage import Stage, unlimited

ROUNDS = int(os.environ.get("ROUNDS", "3"))
EVENTS = int(os.environ.get("EVENTS", "40000"))


def measure(stage: Stage) -> None:
    """Measure Segue and Celery in turns."""
    stage.start_segue()
    chunked_port = stage.start_baseline("chunked")
    ours, theirs = [], []
    for _ in range(ROUNDS):
        with stage.only("segue"):
            ours.append(EVENTS / stage.drain_s("worker", stage.port, EVENTS))
            stage.check_order()
        with stage.only("chunked"):
            theirs.append(EVENTS / stage.drain_s("chunked", chunked_port, EVENTS))
    bench.figure("drain, against Celery without order at its best", median(ours), "events/s", median(theirs))


if __name__ == "__main__":
    # The lease is longer than the time for which the workers are stopped.
    with Stage(unlimited(), SEGUE_LEASE_S="300") as stage:
        measure(stage)
