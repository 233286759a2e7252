"""How many events a second go from HTTP to Customer.io when each comes in a request of its own.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. As bench/throughput.py, but one event a request
over 32 connections. The baseline is naive Celery behind the same endpoint: `delay` in the request, one call an event.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # not this folder: its files are named after the packages they measure

import os
from statistics import median

from bench.support.stage import CONFIG, Stage, report

ROUNDS = int(os.environ.get("ROUNDS", "5"))
EVENTS = int(os.environ.get("EVENTS", "16000"))
NAIVE_EVENTS = EVENTS // 8 // 32 * 32
CONNECTIONS = 32


def measure(stage: Stage) -> None:
    stage.start_segue()
    naive_port = stage.start_rival("naive")
    ours, theirs = [], []
    stage.rate(stage.port, NAIVE_EVENTS, batch=1, connections=CONNECTIONS)
    stage.rate(naive_port, NAIVE_EVENTS, batch=1, connections=CONNECTIONS)
    for _ in range(ROUNDS):
        with stage.alone("segue"):
            ours.append(stage.rate(stage.port, EVENTS, batch=1, connections=CONNECTIONS))
            stage.check_order()
        with stage.alone("naive"):
            theirs.append(stage.rate(naive_port, NAIVE_EVENTS, batch=1, connections=CONNECTIONS))
    report("single, against naive Celery", median(ours), "events/s", median(theirs))


if __name__ == "__main__":
    with Stage() as stage:
        stage.configure(CONFIG)
        measure(stage)
