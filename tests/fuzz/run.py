"""A run: groups of requests, each sent at once; after some groups, the events that were accepted are delivered."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

import lanes
from ingest.app import Ingest
from settings import read_document
from tests.fuzz.endpoint import Errors, Worker, response_to, started
from tests.fuzz.requests import Request, Requests
from tests.fuzz.verdict import Response, fault

_GROUP = 100  # requests that are sent at once
_ROUND = 1_000  # requests, after which the events are claimed


@dataclass
class Report:
    """What a run found. `faults` has a line for each fault; `events` counts them once for each destination."""

    seed: int
    requests: int
    statuses: Counter[int] = field(default_factory=Counter)
    events: int = 0
    reordered: int = 0
    faults: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """Return the figures of the run."""
        statuses = {str(status): count for status, count in sorted(self.statuses.items())}
        figures = {"events": self.events, "reordered": self.reordered, "faults": len(self.faults)}
        return {"seed": self.seed, "requests": self.requests, "statuses": statuses} | figures


def run(client: redis.Redis, redis_url: str, seed: int, count: int) -> Report:
    """Send `count` requests to an application on this empty Redis, and deliver the events that it accepts."""
    report, errors = Report(seed, count), Errors()
    logging.getLogger().addHandler(errors)
    try:
        with tempfile.TemporaryDirectory(prefix="segue-fuzz-") as directory:
            asyncio.run(_run(client, redis_url, Path(directory), errors, report))
    finally:
        logging.getLogger().removeHandler(errors)
    return report


async def _run(client: redis.Redis, redis_url: str, directory: Path, errors: Errors, report: Report) -> None:
    requests = Requests(report.seed)
    async with started(redis_url, directory) as app:
        await response_to(app, Request("GET", "/ready"))  # opens the queues
        document = read_document(directory / "segue.toml")
        workers = [Worker(client, name, document) for name in document["destinations"]]
        for first in range(0, report.requests, _ROUND):
            numbers = range(first, min(first + _ROUND, report.requests))
            for start in range(first, numbers.stop, _GROUP):
                group = range(start, min(start + _GROUP, numbers.stop))
                await _send_group(app, {number: requests.request(number) for number in group}, report)
            lines = [line for worker in workers for line in worker.work()]
            lines += [f"log: {line}" for line in errors.take()]
            report.faults += [f"requests {numbers.start}-{numbers.stop - 1}: {line}" for line in lines]
        for worker in workers:
            stats = lanes.stats(worker.queue)
            report.events += stats.accepted_total
            report.reordered += stats.reordered_total
            report.faults += _faults_of(worker.queue, stats)


async def _send_group(app: Ingest, requests: dict[int, Request], report: Report) -> None:
    async def send(number: int, request: Request) -> None:
        try:
            response = await response_to(app, request)
        except Exception as error:
            report.faults.append(_described(number, request, f"{type(error).__name__}: {error}"))
            return
        report.statuses[response.status] += 1
        if found := fault(request, response):
            report.faults.append(_described(number, request, found, response))

    await asyncio.gather(*(send(number, request) for number, request in requests.items()))


def _faults_of(queue: lanes.Queue, stats: lanes.Stats) -> Iterator[str]:
    """Yield what is wrong with a queue whose events were all delivered."""
    if stats.accepted_total != stats.delivered_total + stats.unsent_total + stats.buried_total or stats.missing_total:
        yield f"{queue.name}: not every accepted event was delivered: {stats}"
    yield from (f"{queue.name}: {each.subject}: {each.text}" for each in lanes.verify(queue).violations)


def _described(number: int, request: Request, found: str, response: Response | None = None) -> str:
    answer = f" response: {response.status} {response.body[:300]!r}" if response else ""
    head = f"{request.method} {request.path} {request.query[:200]!r} {dict(request.headers)}"
    return f"request {number}: {found}: {head} {b''.join(request.body)[:600]!r}{answer}"
