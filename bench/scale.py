"""What more workers bring when the destination is slow: 1, 2, 4 and 8 deliverers, 50 ms an answer.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. Each deliverer is a worker process with one
thread, so with one request under way; requests carry at most 50 events, and the rate has no limit. A backlog of events
of 10,000 people is worked off; the baseline is one deliverer.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # not this folder: its files are named after the packages they measure

import os
from statistics import median

from bench.support.stage import CONFIG, Stage, report

LATENCY_MS = 50.0
SECONDS = 5
PER_DELIVERER_AND_S = 1000 // int(LATENCY_MS) * 50
ROUNDS = int(os.environ.get("ROUNDS", "3"))


def rate(deliverers: int) -> float:
    events = PER_DELIVERER_AND_S * SECONDS * deliverers
    with Stage((LATENCY_MS, LATENCY_MS), SEGUE_CONCURRENCY="1", SEGUE_LEASE_S="300") as stage:
        stage.configure(CONFIG.replace("batch_items = 100", "batch_items = 50"))
        stage.start_segue(deliverers)
        rates = [events / stage.drain_s("worker", stage.port, events, people=10_000) for _ in range(ROUNDS)]
        stage.check_order()
        return median(rates)


if __name__ == "__main__":
    one = rate(1)
    report("scale.1_deliverer", one, "events/s")
    for deliverers in (2, 4, 8):
        report(f"scale.{deliverers}_deliverers", rate(deliverers), "events/s", one)
