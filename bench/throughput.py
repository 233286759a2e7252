"""How many events a second go from HTTP to Customer.io, and what order costs.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. Events of some 570 bytes come in over HTTP, a
hundred a request over eight connections, and leave in batch requests of a hundred; 1,000 people, two identities each.
Everything shares this machine: the sender, ingest, Redis (its log written each second), two worker processes, and the
sink, which counts every operation and checks its order. The rivals (bench/support/rivals.py) have the same endpoint,
mapping and client. All take turns, and those whose turn it is not stand still; medians of ROUNDS. A rate is what was
sent over the time from the first request to the last answer of the sink; `processor` is the time of all processes but
the sender, per event.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # not this folder: its files are named after the packages they measure

import os
from collections import defaultdict
from statistics import median

from bench.support.stage import CONFIG, Stage, report

ROUNDS = int(os.environ.get("ROUNDS", "5"))
EVENTS = int(os.environ.get("EVENTS", "40000"))
NAIVE_EVENTS = EVENTS // 16 // 800 * 800
WARM_UP = 2_000
RIVALS = {
    "naive": "naive Celery: a task and a call for each event",
    "chunked": "Celery without order at its best: a task and a call for each 100 events",
    "stream": "a Redis stream without order",
    "scripted": "a Redis stream without order at its best: a script adds 100 events",
}


def measure(stage: Stage) -> None:
    stage.start_segue()
    ports = {"segue": stage.port} | {name: stage.start_rival(name) for name in RIVALS}
    counts = dict.fromkeys(ports, EVENTS) | {"naive": NAIVE_EVENTS}
    rates = defaultdict(list)
    cost_us = defaultdict(list)
    for name, port in ports.items():
        stage.rate(port, min(WARM_UP, counts[name]))
    for _ in range(ROUNDS):
        for name, port in ports.items():
            with stage.alone(name):
                before = stage.cpu_s()
                rates[name].append(stage.rate(port, counts[name]))
                after = stage.cpu_s()
                cost_us[name].append(sum(after[part] - before[part] for part in after) / counts[name] * 1e6)
                if name == "segue":
                    stage.check_order()
    ours = median(rates["segue"])
    for name, label in RIVALS.items():
        report(f"throughput, against {label}", ours, "events/s", median(rates[name]))
    for name in ports:
        report(f"throughput.{name}.processor", median(cost_us[name]), "us/event")


if __name__ == "__main__":
    with Stage() as stage:
        stage.configure(CONFIG)
        measure(stage)
