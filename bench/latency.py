"""How long an event takes from the sender to the answer of Customer.io, at a quarter, half and three quarters load.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. The destination takes 20 ms to answer. Full load
is what one run at full speed came to, in the same requests of 20 events over eight connections; then each share of it
is sent at a steady rate for SECONDS. The time runs from when the sender writes a request to when the sink answers the
last of its events, so it holds the acceptance too.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # not this folder: its files are named after the packages they measure

import os

from bench.support.stage import CONFIG, Stage, report

LATENCY_MS = 20.0
BATCH, CONNECTIONS = 20, 8
FULL_SPEED_EVENTS = 32_000
SECONDS = float(os.environ.get("SECONDS", "15"))


def measure(stage: Stage) -> None:
    stage.start_segue()
    stage.rate(stage.port, FULL_SPEED_EVENTS // 4, batch=BATCH, connections=CONNECTIONS)
    full = stage.rate(stage.port, FULL_SPEED_EVENTS, batch=BATCH, connections=CONNECTIONS)
    report("latency.full_load", full, "events/s")
    for percent in (25, 50, 75):
        rate = full * percent / 100
        events = int(rate * SECONDS / (BATCH * CONNECTIONS)) * BATCH * CONNECTIONS
        stage.rate(stage.port, events, batch=BATCH, connections=CONNECTIONS, rate=rate)
        stage.check_order()
        for share, wait_s in stage.sink()["wait_s"].items():
            report(f"latency.p{share}.at_{percent}_percent", wait_s * 1000, "ms")


if __name__ == "__main__":
    with Stage((LATENCY_MS, LATENCY_MS)) as stage:
        stage.configure(CONFIG)
        measure(stage)
