"""How long an event takes from the sender to the answer of Customer.io, at a quarter, half and three quarters load.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. The destination takes 20 ms to answer. Full load
is the rate of one run at full speed, in the same requests of 20 events over eight connections. Then each share of it is
sent at a steady rate for SECONDS. The time runs from when the sender writes a request to when the sink answers the last
of its events, so it includes the acceptance.
"""

from __future__ import annotations

import os

import bench
from bench.support.stage import Stage, unlimited

LATENCY_MS = 20.0
BATCH, CONNECTIONS = 20, 8
FULL_SPEED_EVENTS = 32_000
SECONDS = float(os.environ.get("SECONDS", "15"))


def measure(stage: Stage) -> None:
    """Measure the full load, then the latency at each share of it."""
    stage.start_segue()
    stage.rate(stage.port, FULL_SPEED_EVENTS // 4, batch=BATCH, connections=CONNECTIONS)
    full = stage.rate(stage.port, FULL_SPEED_EVENTS, batch=BATCH, connections=CONNECTIONS)
    bench.figure("latency.full_load", full, "events/s")
    for percent in (25, 50, 75):
        rate = full * percent / 100
        events = int(rate * SECONDS / (BATCH * CONNECTIONS)) * BATCH * CONNECTIONS
        stage.rate(stage.port, events, batch=BATCH, connections=CONNECTIONS, rate=rate)
        stage.check_order()
        for share, wait_s in stage.sink()["wait_s"].items():
            bench.figure(f"latency.p{share}.at_{percent}_percent", wait_s * 1000, "ms")


if __name__ == "__main__":
    with Stage(unlimited(), (LATENCY_MS, LATENCY_MS)) as stage:
        measure(stage)
