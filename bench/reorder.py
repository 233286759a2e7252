"""What the reorder window costs: processor time and rate, latency, and memory, against a pipeline without the window.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. Two pipelines as in bench/throughput.py take
turns, one with `reorder_ms` 1000, one with 0; the processes of the other are stopped meanwhile; medians of ROUNDS.

A rate is the number of events over the time from the first request to the last answer of the sink, without the 1 s that
the last events wait: nothing is to be done in it. `processor` is the time of all processes but the sender, per event,
also by role. The latency is that of a steady half of the rate without the window, from sending to the sink's answer.

`memory` is that of a waiting event in Redis: while it waits for earlier ones, and after that; the baseline has no rank.
"""

from __future__ import annotations

import os
from collections import defaultdict
from statistics import median

import redis

import bench
import lanes
from bench.lanes import MeasuredQueue, independent, people, used_memory
from bench.support import embedded
from bench.support.stage import Stage, unlimited
from lanes import records

REORDER_MS = 1000
ROUNDS = int(os.environ.get("ROUNDS", "5"))
EVENTS = int(os.environ.get("EVENTS", "80000"))
SECONDS = float(os.environ.get("SECONDS", "15"))
BATCH, CONNECTIONS = 20, 8  # of the latency, as in bench/latency.py
MEMORY_EVENTS = 50_000
ROLES = ("ingest", "redis", "workers", "sink")
CLIENT = records.digest("client")


def speed(without: Stage, window: Stage) -> None:
    """Measure both pipelines in turns, then the latency."""
    waits_s = {without: 0.0, window: REORDER_MS / 1000}
    rates, costs_us = defaultdict(list), defaultdict(list)
    for stage in waits_s:
        stage.start_segue()
        stage.rate(stage.port, EVENTS // 10)
    for _ in range(ROUNDS):
        for stage, wait_s in waits_s.items():
            with (window if stage is without else without).only():
                before = stage.cpu_s()
                rates[stage].append(EVENTS / (EVENTS / stage.rate(stage.port, EVENTS) - wait_s))
                after = stage.cpu_s()
                costs_us[stage].append([(after[role] - before[role]) / EVENTS * 1e6 for role in ROLES])
                stage.check_order()
    bench.figure("reorder.throughput", median(rates[window]), "events/s", median(rates[without]))
    both = [median(map(sum, costs_us[stage])) for stage in (window, without)]
    bench.figure("reorder.processor", both[0], "us/event", both[1])
    for at, role in enumerate(ROLES):
        own, baseline = (median(costs[at] for costs in costs_us[stage]) for stage in (window, without))
        bench.figure(f"reorder.processor.{role}", own, "us/event", baseline)
    rate = median(rates[without]) / 2
    for name, stage in (("window", window), ("none", without)):
        events = int(rate * SECONDS / (BATCH * CONNECTIONS)) * BATCH * CONNECTIONS
        with (window if stage is without else without).only():
            stage.rate(stage.port, events, batch=BATCH, connections=CONNECTIONS, rate=rate)
        for share, wait_s in stage.sink()["wait_s"].items():
            bench.figure(f"reorder.latency.{name}.p{share}.at_50_percent", wait_s * 1000, "ms")


def memory(client: redis.Redis) -> None:
    """Measure the memory of events that wait for earlier ones, and after their wait."""
    for name, keys_of in (("shared", people(1000)), ("independent", independent)):
        each = {}
        for rank in (b"", _rank()):
            queue = MeasuredQueue(client, f"{name}-{len(rank)}", keys_of)
            queue.append(100)
            before = used_memory(client)
            for first in range(0, MEMORY_EVENTS, 100):
                new = [
                    lanes.NewEvent(os.urandom(300), keys_of(n), f"{n}", rank=rank) for n in range(first, first + 100)
                ]
                lanes.append(queue.queue, new)
            client.delete(*client.keys("*:seen:*"))
            each[rank] = [(used_memory(client) - before) / MEMORY_EVENTS]
            client.delete(*client.keys("*:rank:*") or ("none",))
            each[rank].append((used_memory(client) - before) / MEMORY_EVENTS)
        bench.figure(f"reorder.memory.{name}.waiting", each[_rank()][0], "bytes/event", each[b""][0])
        bench.figure(f"reorder.memory.{name}.after", each[_rank()][1], "bytes/event", each[b""][1])


def _rank() -> bytes:
    """Return a rank that waits as long as any."""
    now_ms = 1
    return records.rank(9_999, CLIENT, now_ms, records.tie(now_ms, now_ms, now_ms))


if __name__ == "__main__":
    with (
        Stage(unlimited(), SEGUE_REORDER_MS="0") as without,
        Stage(unlimited(), SEGUE_REORDER_MS=str(REORDER_MS)) as window,
    ):
        speed(without, window)
    with embedded.server() as url, redis.Redis.from_url(url, socket_timeout=60) as client:
        memory(client)
