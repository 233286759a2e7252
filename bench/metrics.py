"""What metrics cost: an event, a request and a scrape.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. For the throughput, ingest, two workers
and `segue metrics` run; with scrapes and without take turns. All four are scraped each SCRAPE_S seconds, which is
fifteen times as often as is usual. Without scrapes, `segue metrics` is stopped. Requests are counted in both;
`metrics.counting` is what that costs a request, to Customer.io one of a hundred events.

`python -m bench.compare` with a checkout before metrics has the whole price.
Times are processor times of this process; those of Redis are apart.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any
from urllib.request import urlopen

from prometheus_client import generate_latest

import bench
import lanes
from bench.support.stage import Stage, unlimited
from console.exporter import collector
from console.local import programs
from delivery.batching import Item, Request
from delivery.outcomes import Delivered
from delivery.telemetry.measuring import measured
from ingest.acceptance import Configuration
from metrics import endpoint
from metrics.registry import INGEST_DURATION
from settings import Settings

ROUNDS = int(os.environ.get("ROUNDS", "7"))
EVENTS = int(os.environ.get("EVENTS", "40000"))
SCRAPE_S = 1.0
SCRAPES = 100
CALLS = 2_000
PROCESSES = 4


def throughput(stage: Stage, first_port: int) -> None:
    """Measure the throughput with scrapes and without, in turns."""
    stage.start_segue()
    stage.supervisor.start(programs.configured("metrics", stage.environment))
    ports = [port for port in range(first_port, first_port + 2 * PROCESSES) if scrape(port)]
    if len(ports) != PROCESSES:
        raise SystemExit(f"{len(ports)} processes serve metrics")
    stage.rate(stage.port, 2_000)
    scraped, alone = [], []
    for _ in range(ROUNDS):
        with stage.only("segue"):
            alone.append(stage.rate(stage.port, EVENTS))
        with scraping(ports):
            scraped.append(stage.rate(stage.port, EVENTS))
    bench.figure("metrics.throughput", median(scraped), "events/s", median(alone))
    ratios = [with_scrapes / without for with_scrapes, without in zip(scraped, alone, strict=True)]
    bench.figure("metrics.throughput.ratio", median(ratios), "of 1")


def scrape(port: int) -> bytes:
    """Return what the process on this port serves; nothing when there is none."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            text: bytes = response.read()
            return text
    except OSError:
        return b""


@contextmanager
def scraping(ports: list[int]) -> Iterator[None]:
    """Scrape the ports regularly, until the end of the block."""
    ended = threading.Event()

    def scrape_all() -> None:
        while not ended.wait(SCRAPE_S):
            for port in ports:
                scrape(port)

    thread = threading.Thread(target=scrape_all)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def scrapes(stage: Stage, destinations: int) -> None:
    """Measure a scrape of `segue metrics` with so many destinations, each with events that wait."""
    names = [f"d{number}" for number in range(destinations)]
    source: dict[str, Any] = {"write_key": "w", "destinations": names}
    document = {
        "sources": {"web": source},
        "destinations": {name: {"site_id": name, "api_key": name} for name in names},
    }
    settings, configuration = Settings(), Configuration.of(document)
    for name, destination in configuration.destinations.items():
        values = settings.queue_config(destination.delivery.remember_days)
        queue = lanes.open_queue(lanes.Queue(client=stage.store, name=name, **values))
        lanes.append(queue, [lanes.NewEvent(b"{}", (f"id:{number % 97}",), f"m{number}") for number in range(1_000)])
    metrics = endpoint.of_process("metrics")
    metrics.register(collector.QueueCollector(stage.store, settings, configuration))
    before = redis_us(stage)
    took_ms = [ms(lambda: generate_latest(metrics)) for _ in range(SCRAPES)]
    bench.figure(f"metrics.scrape.{destinations}_destinations", median(took_ms), "ms")
    in_redis_ms = (redis_us(stage) - before) / SCRAPES / 1000
    bench.figure(f"metrics.scrape.{destinations}_destinations.redis", in_redis_ms, "redis_ms")


def redis_us(stage: Stage) -> float:
    """Return the time that Redis has spent on commands."""
    return float(sum(each["usec"] for each in stage.store.info("commandstats").values()))


def ms(work: Callable[[], object]) -> float:
    """Return the milliseconds of processor time that the work takes."""
    began = time.thread_time()
    work()
    return (time.thread_time() - began) * 1000


def counting() -> None:
    """Measure what it costs to count a request: one of a hundred items to Customer.io, and one to ingest."""
    outcomes = [Delivered()] * 100
    items = tuple(Item(number, 0, "trackEvent", "event", "/api/v2/entity", b"{}") for number in range(100))
    request, accepted_at_ms = Request("/api/v2/batch", items), dict.fromkeys(range(100), int(time.time() * 1000))
    send = measured(lambda _: outcomes, "demo", accepted_at_ms)
    costs_us = defaultdict(list)
    for _ in range(ROUNDS):
        costs_us["delivery"].append(ms(lambda: [send(request) for _ in range(CALLS)]) * 1000 / CALLS)
        costs_us["ingest"].append(ms(lambda: [INGEST_DURATION.add([0.01], "200") for _ in range(CALLS)]) * 1000 / CALLS)
    for role, found in costs_us.items():
        bench.figure(f"metrics.counting.{role}", median(found), "us/request")


if __name__ == "__main__":
    counting()
    collector._KEPT_S = -1.0  # type: ignore[misc]  # each scrape reads Redis
    port = programs.free_port()
    with Stage(unlimited(), SEGUE_METRICS_PORT=str(port)) as stage:
        for destinations in (1, 10):
            scrapes(stage, destinations)
        throughput(stage, port)
