"""The baselines: four other queues over the same Redis, with the HTTP endpoint, mapping and client of Segue.

None of them keeps events in order.

    naive     one Celery task for each event, which sends one request: what most teams write
    chunked   one Celery task for all events of a request, which sends one batch request: Celery at its best
    stream    a Redis stream; one XADD for each event, in a pipeline for each request; consumers read a hundred events
              and send one batch request for them
    scripted  the same stream, where one script adds all events of a request: a stream at its best

Each consists of an ASGI application for ingest, which `uvicorn --factory` serves, and of workers: `celery -A
bench.support.baselines`, or `python -m bench.support.baselines NAME` for the streams.
"""

from __future__ import annotations

import os
import sys
import time
from functools import cache
from typing import Any

import redis
from celery import Celery
from celery.signals import worker_process_init

import mapping
from delivery import wire
from delivery.batching import Item, Request, encode, pack
from delivery.customerio import TrackApi
from delivery.outcomes import Delivered
from ingest.access.sources import Source
from ingest.app import Ingest
from ingest.queues.group_commit import Result
from mapping.envelope import unpack
from settings import Settings

GROUP, READ = "consumers", 100
_ADD = "for _, body in ipairs(ARGV) do redis.call('XADD', KEYS[1], '*', 'e', body) end"

app = Celery("baselines", broker=os.environ.get("REDIS_URL"))
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=4, broker_connection_retry_on_startup=True)


@app.task(name="baseline.naive", queue="baseline:naive")  # type: ignore[untyped-decorator]
def naive(event: dict[str, Any]) -> None:
    """Send one event."""
    for item in items("demo", event):
        send(Request(item.path, (item,)))


@app.task(name="baseline.chunked", queue="baseline:chunked")  # type: ignore[untyped-decorator]
def chunked(events: list[dict[str, Any]]) -> None:
    """Send the events of one request."""
    for request in pack([item for event in events for item in items("demo", event)], len(events)):
        send(request)


def stream_of(baseline: str) -> str:
    """Return the key of the baseline's stream."""
    return f"baseline:{baseline}"


def consume(stream: str) -> None:
    """Read the stream and send its events, until the process is stopped."""
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    name = str(os.getpid())
    while True:
        for _, entries in client.xreadgroup(GROUP, name, {stream: ">"}, count=READ, block=1000) or []:
            operations = [item for _, fields in entries for item in items(*unpack(fields[b"e"])[:2])]
            for request in pack(operations, READ):
                send(request)
            with client.pipeline(transaction=False) as pipeline:
                pipeline.xack(stream, GROUP, *(entry for entry, _ in entries))
                pipeline.xdel(stream, *(entry for entry, _ in entries))
                pipeline.execute()


def items(source: str, event: dict[str, Any]) -> list[Item]:
    """Return the operations of an event, as Segue makes them."""
    now_s = time.time()
    translation = mapping.translate(event, destination(), now_s)
    bodies = wire.bodies(translation.operations, source, event, int(now_s * 1000))
    return [encode(0, 0, operation, body) for operation, body in zip(translation.operations, bodies, strict=True)]


def send(request: Request) -> None:
    """Send the request; raise RuntimeError when an item was not accepted."""
    for outcome in track_api().send(request):
        if not isinstance(outcome, Delivered):
            raise RuntimeError(outcome)


@cache
def destination() -> mapping.Destination:
    """Return the destination of the benchmark."""
    return mapping.destinations(Settings.load().document())["demo"]


@cache
def track_api() -> TrackApi:
    """Return the client of this process."""
    return TrackApi(os.environ["SEGUE_TRACK_URL"], "demo", "demo", timeout_s=30)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def connect_anew(**_: Any) -> None:
    """Give a forked process connections of its own."""
    track_api.cache_clear()


class NaiveIngest(Ingest):
    """Sends one task for each event."""

    def _entries(self, _source: Source, event: dict[str, Any], _body: bytes) -> Any:
        return event

    async def _append(self, _source: Source, events: list[Any]) -> list[Result]:
        for event in events:
            naive.delay(event)
        return ["accepted"] * len(events)


class ChunkedIngest(NaiveIngest):
    """Sends one task for each request."""

    async def _append(self, _source: Source, events: list[Any]) -> list[Result]:
        chunked.delay(events)
        return ["accepted"] * len(events)


class StreamIngest(Ingest):
    """Adds the events of a request to the stream in one pipeline."""

    def _entries(self, _source: Source, _event: dict[str, Any], body: bytes) -> Any:
        return body

    async def _append(self, _source: Source, events: list[Any]) -> list[Result]:
        pipeline = self._client.pipeline(transaction=False)
        for body in events:
            pipeline.xadd(stream_of("stream"), {"e": body})
        await pipeline.execute()
        return ["accepted"] * len(events)


class ScriptedIngest(StreamIngest):
    """Adds the events of a request to the stream with one script."""

    async def _append(self, _source: Source, events: list[Any]) -> list[Result]:
        await self._client.eval(_ADD, 1, stream_of("scripted"), *events)
        return ["accepted"] * len(events)


def naive_ingest() -> Ingest:
    """Return the ASGI application of the baseline `naive`."""
    return NaiveIngest(Settings.load())


def chunked_ingest() -> Ingest:
    """Return the ASGI application of the baseline `chunked`."""
    return ChunkedIngest(Settings.load())


def stream_ingest() -> Ingest:
    """Return the ASGI application of the baseline `stream`."""
    return StreamIngest(Settings.load())


def scripted_ingest() -> Ingest:
    """Return the ASGI application of the baseline `scripted`."""
    return ScriptedIngest(Settings.load())


if __name__ == "__main__":
    consume(stream_of(sys.argv[1]))
