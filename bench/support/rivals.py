"""What Segue is measured against: other ways over the same Redis, behind the same HTTP endpoint, with the same mapping
and the same client. None of them keeps any order.

    naive    one Celery task an event, which makes one call of its own: what most teams write
    chunked  one Celery task for all events of a request, which makes one batch call: Celery at its best
    stream   a Redis stream, added to with one XADD an event, in a pipeline for each request; read a hundred events at a
             time, one batch call for them
    scripted the same, but one script adds all events of a request: a stream at its best

Each is an ASGI application for ingest, to be served with `uvicorn --factory`, and workers: `celery -A
bench.support.rivals`, and `python -m bench.support.rivals NAME` for the streams.
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
from ingest.app import Ingest
from ingest.group_commit import Result
from ingest.sources import Source
from mapping.envelope import unpack
from settings import Settings

GROUP, READ = "consumers", 100
_ADD = "for _, body in ipairs(ARGV) do redis.call('XADD', KEYS[1], '*', 'e', body) end"

app = Celery("rivals", broker=os.environ.get("REDIS_URL"))
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=4, broker_connection_retry_on_startup=True)


@app.task(name="rival.naive", queue="rival:naive")  # type: ignore[untyped-decorator]
def naive(event: dict[str, Any]) -> None:
    """Send one event."""
    for item in items("demo", event):
        send(Request(item.path, (item,)))


@app.task(name="rival.chunked", queue="rival:chunked")  # type: ignore[untyped-decorator]
def chunked(events: list[dict[str, Any]]) -> None:
    """Send the events of one request."""
    for request in pack([item for event in events for item in items("demo", event)], len(events)):
        send(request)


def stream_of(rival: str) -> str:
    return f"rival:{rival}"


def consume(stream: str) -> None:
    """Read the stream until told to stop."""
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    name = str(os.getpid())
    while True:
        for _, entries in client.xreadgroup(GROUP, name, {stream: ">"}, count=READ, block=1000) or []:
            told = [item for _, fields in entries for item in items(*unpack(fields[b"e"])[:2])]
            for request in pack(told, READ):
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
    """Send the request; whatever was not accepted ends the benchmark's wait with a word in the log."""
    for outcome in track_api().send(request):
        if not isinstance(outcome, Delivered):
            raise RuntimeError(outcome)


@cache
def destination() -> mapping.Destination:
    return mapping.destinations(Settings.load().document())["demo"]


@cache
def track_api() -> TrackApi:
    return TrackApi(os.environ["SEGUE_TRACK_URL"], "demo", "demo", timeout_s=30)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def connect_anew(**_: Any) -> None:
    """A forked process has connections of its own."""
    track_api.cache_clear()


class NaiveIngest(Ingest):
    """Puts one task for each event."""

    def _entries(self, _source: Source, event: dict[str, Any], _body: bytes) -> Any:
        return event

    async def _append(self, _source: Source, events: list[Any]) -> list[Result]:
        for event in events:
            naive.delay(event)
        return ["accepted"] * len(events)


class ChunkedIngest(NaiveIngest):
    """Puts one task for each request."""

    async def _append(self, _source: Source, events: list[Any]) -> list[Result]:
        chunked.delay(events)
        return ["accepted"] * len(events)


class StreamIngest(Ingest):
    """Adds each event to the stream, all of a request in one pipeline."""

    def _entries(self, _source: Source, _event: dict[str, Any], body: bytes) -> Any:
        return body

    async def _append(self, _source: Source, events: list[Any]) -> list[Result]:
        pipeline = self._client.pipeline(transaction=False)
        for body in events:
            pipeline.xadd(stream_of("stream"), {"e": body})
        await pipeline.execute()
        return ["accepted"] * len(events)


class ScriptedIngest(StreamIngest):
    """Adds all events of a request to the stream in one step."""

    async def _append(self, _source: Source, events: list[Any]) -> list[Result]:
        await self._client.eval(_ADD, 1, stream_of("scripted"), *events)
        return ["accepted"] * len(events)


def naive_ingest() -> Ingest:
    return NaiveIngest(Settings.load())


def chunked_ingest() -> Ingest:
    return ChunkedIngest(Settings.load())


def stream_ingest() -> Ingest:
    return StreamIngest(Settings.load())


def scripted_ingest() -> Ingest:
    return ScriptedIngest(Settings.load())


if __name__ == "__main__":
    consume(stream_of(sys.argv[1]))
