"""What one person with a hundred thousand waiting events costs: how fast they drain, and whether others are slower.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`:

    hot_lane.trust               the person's events/s with batch_order = "trust"; baseline: that of other people alone
    hot_lane.trust.per_request   operations in each request; baseline: batch_items
    hot_lane.barrier             the person's events/s with "barrier", where each event needs a request of its own
    hot_lane.independent         events/s of other people beside this person ("barrier"); baseline: other people alone

Two workers of four threads, a service that answers after 5 ms, no limit to the rate. EVENTS is the number of events of
each group. Other people are as many as their events. Caveats: the workers, Redis and the service share the machine's
cores; a person's events are sent one request after the other, those of others on eight threads in parallel.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bench
import lanes
from bench.support import embedded
from mapping.envelope import pack
from tests.pipeline import QUEUE, Pipeline, configuration, wait_until
from tests.queues import default_queue

EVENTS = int(os.environ.get("EVENTS", "100000"))
BATCH_ITEMS = 100
WORKERS = 2
DEADLINE_S = 600.0


@contextmanager
def waiting(batch_order: str, **people: int) -> Iterator[Pipeline]:
    """Yield a pipeline whose workers have just started, with EVENTS waiting events of each of the groups of people."""
    delivery = {"requests_per_s": 10_000, "batch_order": batch_order}
    with embedded.pipeline(configuration(batch_items=BATCH_ITEMS, delivery=delivery), workers=0) as pipeline:
        pipeline.http.post(f"{pipeline.simulator_url}/_sim/options", json={"keep_journal": False})
        pipeline.faults(latency_ms=[5, 5])
        for name, count in people.items():
            append(pipeline, name, count)
        for _ in range(WORKERS):
            pipeline.start_worker()
        yield pipeline


def append(pipeline: Pipeline, name: str, people: int) -> None:
    """Append events of that many people to the queue; ingest is not part of the measurement."""
    queue = default_queue(pipeline.redis, QUEUE).without_limit()
    for first in range(0, EVENTS, 500):
        events = [
            lanes.NewEvent(pack("demo", event(name, n, people)), (f"id:{name} {n % people}",), f"{name} {n}")
            for n in range(first, min(first + 500, EVENTS))
        ]
        lanes.append(queue, events)


def event(name: str, number: int, people: int) -> dict[str, Any]:
    """Return the event of that number of the group `name`."""
    user, message_id = f"{name} {number % people}", f"{name} {number}"
    return {
        "type": "track",
        "event": name,
        "userId": user,
        "messageId": message_id,
        "timestamp": "2026-11-24T10:00:00Z",
    }


def rate(pipeline: Pipeline, count: int) -> float:
    """Return the events/s between a tenth and nine tenths of `count` deliveries."""
    marks = []
    for share in (0.1, 0.9):
        wait_until(lambda wanted=share * count: delivered(pipeline) >= wanted, "the events are delivered", DEADLINE_S)
        marks.append((delivered(pipeline), time.monotonic()))
    (first, began_at), (last, ended_at) = marks
    return (last - first) / (ended_at - began_at)


def delivered(pipeline: Pipeline) -> int:
    """Return how many events were delivered so far."""
    return pipeline.stats().delivered_total


def per_request(pipeline: Pipeline) -> float:
    """Return the mean number of operations in a request."""
    seen = pipeline.http.get(f"{pipeline.simulator_url}/_sim/stats").json()
    return float(seen["operations"] / sum(seen["requests"].values()))


def main() -> None:
    """Measure the other people alone, the person alone, and both together."""
    with waiting("trust", independent=EVENTS) as pipeline:
        independent = rate(pipeline, EVENTS)
    with waiting("trust", hot=1) as pipeline:
        bench.figure("hot_lane.trust", rate(pipeline, EVENTS), "events/s", independent)
        bench.figure("hot_lane.trust.per_request", per_request(pipeline), "operations/request", BATCH_ITEMS)
    with waiting("barrier", hot=1, independent=EVENTS) as pipeline:
        bench.figure("hot_lane.independent", rate(pipeline, EVENTS), "events/s", independent)
    with waiting("barrier", hot=1) as pipeline:
        bench.figure("hot_lane.barrier", rate(pipeline, EVENTS // 200), "events/s")


if __name__ == "__main__":
    main()
