"""Whether memory stays flat: a steady load for MINUTES (20 to mean something; 2 unless told), at 70 % of full speed.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`: the resident memory of each process at the end,
its baseline a tenth of the time after the start (two minutes of twenty). Full speed is what one short run came to.
Message ids are remembered for a short window, which has passed several times before memory is first looked at: until
Redis has freed as many ids as often, it grows into what it needs. What they take is a figure of `lanes.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # not this folder: its files are named after the packages they measure

import os
import threading

from bench.support.stage import CONFIG, Figures, Stage, report, rss_mb

MINUTES = float(os.environ.get("MINUTES", "2"))
SHARE = 0.7
BATCH, CONNECTIONS = 100, 8
FULL_SPEED_EVENTS = 40_000


def memory(stage: Stage) -> Figures:
    return {name: rss_mb(pid) for name, pid in stage.supervisor.pids.items()}


def measure(stage: Stage) -> None:
    stage.start_segue()
    full = stage.rate(stage.port, FULL_SPEED_EVENTS, batch=BATCH, connections=CONNECTIONS)
    report("soak.full_speed", full, "events/s")
    early: Figures = {}
    timer = threading.Timer(MINUTES * 6, lambda: early.update(memory(stage)))
    timer.start()
    step = BATCH * CONNECTIONS
    slices = max(1, round(MINUTES * 2))
    for _ in range(slices):  # the sender writes a slice down beforehand, and the sink forgets it afterwards
        events = int(full * SHARE * 30 / step) * step
        stage.rate(stage.port, events, batch=BATCH, connections=CONNECTIONS, rate=full * SHARE)
        stage.check_order()
    timer.join()
    for name, late_mb in memory(stage).items():
        report(f"soak.memory.{name}", late_mb, "MB", early[name])


if __name__ == "__main__":
    with Stage(SEGUE_DEDUPE_S=str(max(3, round(MINUTES)))) as stage:
        stage.configure(CONFIG)
        measure(stage)
