"""What it costs when few people have all the events: 10,000 events of 1 to 10,000 people, 0-5 ms a request.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. The events wait already when the two workers
continue; the time is that until the last answer. With `batch_order = "trust"` a request carries any number of events of
a person, and the baseline is the time for 1,000 people. With `"barrier"` a request carries one event of a person. Its
baseline is a lower bound: the events of one person times the mean latency, as the sink measured it. For 1,000 people
and more there is none, because the bound is less than the work itself. The sink checks the order.
"""

from __future__ import annotations

import os
from statistics import median_low

import bench
from bench.support.stage import Stage, unlimited

EVENTS = 10_000
LATENCY_MS = (0.0, 5.0)
ROUNDS = int(os.environ.get("ROUNDS", "3"))


def measure(batch_order: str) -> dict[int, tuple[float, float]]:
    """Return, by people, the seconds that the events take and the mean latency of the sink."""
    # The lease is longer than the time for which the workers are stopped.
    with Stage(unlimited(batch_order=batch_order), LATENCY_MS, SEGUE_LEASE_S="300") as stage:
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
    trust = measure("trust")
    for people, (taken_s, _) in trust.items():
        bench.figure(f"keys.trust.{people}_people", taken_s, "s", None if people == 1000 else trust[1000][0])
    for people, (taken_s, latency_s) in measure("barrier").items():
        bound_s = EVENTS / people * latency_s if people <= 20 else None
        bench.figure(f"keys.barrier.{people}_people", taken_s, "s", bound_s)
