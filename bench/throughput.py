"""How many events a second go from HTTP to Customer.io, and what order costs.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. Events of some 570 bytes come in over HTTP, a
hundred a request over eight connections, and leave in batch requests of a hundred; 1,000 people, two identifiers each.
Everything shares this machine: the sender, ingest, Redis (append-only file flushed every second), two worker
processes, and the sink, which counts every operation and checks its order. The baselines (bench/support/baselines.py)
have the same endpoint, mapping and client. All take turns, while the processes of the others are stopped; medians of
ROUNDS.

A rate is the number of events over the time from the first request to the last answer of the sink. `processor` is the
time of all processes but the sender, per event; for Segue also by role, where the baseline is a stream at its best.
"""

from __future__ import annotations

import os
from collections import defaultdict
from statistics import median

import bench
from bench.support.stage import Stage, unlimited

ROUNDS = int(os.environ.get("ROUNDS", "5"))
EVENTS = int(os.environ.get("EVENTS", "40000"))
NAIVE_EVENTS = max(800, EVENTS // 16 // 800 * 800)
WARM_UP = 2_000
BASELINES = {
    "naive": "naive Celery: a task and a call for each event",
    "chunked": "Celery without order at its best: a task and a call for each 100 events",
    "stream": "a Redis stream without order",
    "scripted": "a Redis stream without order at its best: a script adds 100 events",
}
ROLES = ("ingest", "redis", "workers", "sink")


def measure(stage: Stage) -> None:
    """Measure Segue and the baselines in turns."""
    stage.start_segue()
    ports = {"segue": stage.port} | {name: stage.start_baseline(name) for name in BASELINES}
    counts = dict.fromkeys(ports, EVENTS) | {"naive": NAIVE_EVENTS}
    rates = defaultdict(list)
    costs_us = defaultdict(list)
    for name, port in ports.items():
        stage.rate(port, min(WARM_UP, counts[name]))
    for _ in range(ROUNDS):
        for name, port in ports.items():
            with stage.only(name):
                before = stage.cpu_s()
                rates[name].append(stage.rate(port, counts[name]))
                after = stage.cpu_s()
                costs_us[name].append([(after[role] - before[role]) / counts[name] * 1e6 for role in ROLES])
                if name == "segue":
                    stage.check_order()
    ours = median(rates["segue"])
    for name, label in BASELINES.items():
        bench.figure(f"throughput, against {label}", ours, "events/s", median(rates[name]))
    for name in ports:
        bench.figure(f"throughput.{name}.processor", median(map(sum, costs_us[name])), "us/event")
    by_role = zip(ROLES, zip(*costs_us["segue"], strict=True), zip(*costs_us["scripted"], strict=True), strict=True)
    for role, own, scripted in by_role:
        bench.figure(f"throughput.segue.processor.{role}", median(own), "us/event", median(scripted))


if __name__ == "__main__":
    with Stage(unlimited()) as stage:
        measure(stage)
