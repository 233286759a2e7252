"""How quickly a backlog is worked off, two workers, against Celery without order at its best.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. The events wait already when the workers are let
go: theirs a hundred a task, ours one by one; both sides have the same mapping and client.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # not this folder: its files are named after the packages they measure

import os
from statistics import median

from bench.support.stage import CONFIG, Stage, report

ROUNDS = int(os.environ.get("ROUNDS", "3"))
EVENTS = int(os.environ.get("EVENTS", "40000"))


def measure(stage: Stage) -> None:
    stage.start_segue()
    chunked_port = stage.start_rival("chunked")
    ours, theirs = [], []
    for _ in range(ROUNDS):
        with stage.alone("segue"):
            ours.append(EVENTS / stage.drain_s("worker", stage.port, EVENTS))
            stage.check_order()
        with stage.alone("chunked"):
            theirs.append(EVENTS / stage.drain_s("chunked", chunked_port, EVENTS))
    report("drain, against Celery without order at its best", median(ours), "events/s", median(theirs))


if __name__ == "__main__":
    # A lease outlives the time that the workers stand still.
    with Stage(SEGUE_LEASE_S="300") as stage:
        stage.configure(CONFIG)
        measure(stage)
