"""What it costs when few people have all the events: 10,000 events over 1 to 10,000 people, 0-5 ms a request.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. The events wait already when the two workers are
let go; the time is that until the last answer. With `batch_order = "trust"` a request carries as many events of a
person as it likes, and the baseline is the time for 1,000 people. With `"barrier"` a request carries one, and the
baseline is what cannot be beaten: the events of one person times the mean latency, as the sink measured it (not for
1,000 people and more, where that is less than the work itself). The sink checks the order.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # not this folder: its files are named after the packages they measure

import os
from statistics import median_low

from bench.support.stage import CONFIG, Stage, report

EVENTS = 10_000
LATENCY_MS = (0.0, 5.0)
ROUNDS = int(os.environ.get("ROUNDS", "3"))


def measure(batch_order: str) -> dict[int, tuple[float, float]]:
    """Return, by people, the seconds that the events take and the mean latency of the sink."""
    # A lease outlives the time that the workers stand still.
    with Stage(LATENCY_MS, SEGUE_LEASE_S="300") as stage:
        stage.configure(CONFIG + f'batch_order = "{batch_order}"\n')
        stage.start_segue()

        def seconds(people: int) -> tuple[float, float]:
            taken_s = stage.drain_s("worker", stage.port, EVENTS, people=people)
            stage.check_order()
            return taken_s, stage.sink()["latency_s"]

        seconds(1000)
        times: dict[int, list[tuple[float, float]]] = {1000: [], 20: [], 10_000: []}
        for _ in range(ROUNDS):
            for people, taken in times.items():
                taken.append(seconds(people))
        return {people: median_low(taken) for people, taken in times.items()} | {1: seconds(1)}


if __name__ == "__main__":
    trusting = measure("trust")
    for people, (taken_s, _) in trusting.items():
        report(f"keys.trust.{people}_people", taken_s, "s", None if people == 1000 else trusting[1000][0])
    for people, (taken_s, latency_s) in measure("barrier").items():
        report(f"keys.barrier.{people}_people", taken_s, "s", EVENTS / people * latency_s if people <= 20 else None)
