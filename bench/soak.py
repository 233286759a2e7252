"""Whether memory stays flat: a steady load for MINUTES (default 2; use 20 to judge it), at 70 % of full speed.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`: the resident memory of each process at the end.
The baseline is its memory after a tenth of the time. Full speed is the rate of one short run.

The de-duplication window is short, and has passed several times before memory is first read: until Redis has freed as
many message ids as it holds, its memory grows to the size that it needs. `lanes.py` measures the memory of message ids.
"""

from __future__ import annotations

import os
import threading

import bench
from bench.support.stage import Figures, Stage, rss_mb, unlimited

MINUTES = float(os.environ.get("MINUTES", "2"))
SHARE = 0.7
BATCH, CONNECTIONS = 100, 8
FULL_SPEED_EVENTS = 40_000


def memory(stage: Stage) -> Figures:
    """Return the resident memory of each process in MB, by name."""
    return {name: rss_mb(pid) for name, pid in stage.supervisor.pids.items()}


def measure(stage: Stage) -> None:
    """Send at a steady rate and compare the memory at the end with that at the start."""
    stage.start_segue()
    full = stage.rate(stage.port, FULL_SPEED_EVENTS, batch=BATCH, connections=CONNECTIONS)
    bench.figure("soak.full_speed", full, "events/s")
    early: Figures = {}
    timer = threading.Timer(MINUTES * 6, lambda: early.update(memory(stage)))
    timer.start()
    step = BATCH * CONNECTIONS
    slices = max(1, round(MINUTES * 2))
    for _ in range(slices):  # bounds the memory of the sender, which builds a slice beforehand, and of the sink
        events = int(full * SHARE * 30 / step) * step
        stage.rate(stage.port, events, batch=BATCH, connections=CONNECTIONS, rate=full * SHARE)
        stage.check_order()
    timer.join()
    for name, late_mb in memory(stage).items():
        bench.figure(f"soak.memory.{name}", late_mb, "MB", early[name])


if __name__ == "__main__":
    with Stage(unlimited(), SEGUE_DEDUPE_S=str(max(3, round(MINUTES)))) as stage:
        measure(stage)
