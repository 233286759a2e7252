"""The HTTP endpoint: Segment's Tracking API and its webhook, as one ASGI application.

It is plain ASGI because every event passes through it: a request costs a few dictionaries, one group commit and one
response. The application answers 200 only after the events are durable in Redis.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import redis.asyncio
from redis.exceptions import RedisError

import lanes
import mapping
from ingest import bodies
from ingest.analytics_js import settings_document
from ingest.calls import BATCH_PATHS, EVENT_PATHS, Calls, Entries, Offer
from ingest.counters import Counters
from ingest.errors import Refusal
from ingest.group_commit import RESULTS, RETRY_AFTER_S, GroupCommit, Result
from ingest.sources import Source, sources
from ingest.wakeups import Wakeups
from mapping.envelope import JsonObject
from settings import Settings

log = logging.getLogger(__name__)

_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, content-type, content-encoding"),
    (b"access-control-max-age", b"86400"),
)

Scope = Mapping[str, Any]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Response:
    """A response with a JSON body; an empty body when `body` is None."""

    status: int
    body: JsonObject | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


_SUCCESS = Response(200, {"success": True})


class Ingest:
    """The ASGI application of one configuration. It connects to Redis when the server starts it."""

    def __init__(self, settings: Settings) -> None:
        document = settings.document()
        self._settings = settings
        self._destinations = mapping.destinations(document)
        self._counters = Counters()
        self._calls = Calls(sources(document), self._entries, self._counters, settings)

    async def __call__(self, scope: Scope, receive: bodies.Receive, send: Send) -> None:
        """Serve one HTTP request, or the lifespan of the server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            response = await self._respond(scope, receive)
            await _write(send, response)

    async def _lifespan(self, receive: bodies.Receive, send: Send) -> None:
        await receive()
        self._client = redis.asyncio.Redis.from_url(
            self._settings.redis_url, socket_timeout=5, socket_connect_timeout=2
        )
        self._wakeups = Wakeups(self._settings.redis_url)
        self._commits = {
            name: GroupCommit(self._queue(name, destination), destination, self._wakeups)
            for name, destination in self._destinations.items()
        }
        counting = asyncio.create_task(self._counters.write_regularly(self._client))
        # What is loaded now stays. A request allocates many small objects without cycles, which end with it: full
        # collections would find nothing and cost time.
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        counting.cancel()
        await asyncio.wait([counting])  # an interrupted write returns its counts first
        await self._counters.write(self._client)
        self._wakeups.close()
        await self._client.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    def _queue(self, name: str, destination: mapping.Destination) -> lanes.AsyncQueue:
        values = self._settings.queue_config(destination.delivery.remember_days)
        return lanes.AsyncQueue(client=self._client, name=name, **values)

    async def _respond(self, scope: Scope, receive: bodies.Receive) -> Response:
        try:
            return await self._route(scope, receive)
        except Refusal as refusal:
            after = ((b"retry-after", b"%d" % refusal.retry_after_s),) if refusal.retry_after_s else ()
            return Response(refusal.status, {"success": False, "error": refusal.json()}, after)
        except Exception:
            log.exception("unhandled exception in %s %s", scope["method"], scope["path"])
            return Response(500, {"success": False, "error": {"message": "internal error; send the request again"}})

    async def _route(self, scope: Scope, receive: bodies.Receive) -> Response:
        method = scope["method"]
        match scope["path"].strip("/").split("/"):
            case ["health"]:
                return Response(200, {"status": "ok"})
            case ["ready"]:
                return await self._readiness()
            case ["v1", *_] if method == "OPTIONS":
                return Response(204)
            case ["v1", "projects", write_key, "settings"] if method in ("GET", "HEAD"):
                return self._settings_document(write_key, scope)
            case ["v1", "m"] if method == "POST":
                await bodies.read(receive, "")
                return _SUCCESS
            case ["v1", "webhook", name] if method == "POST":
                return await self._accept_webhook(name, scope, receive)
            case ["v1", path] if method == "POST" and (path in EVENT_PATHS or path in BATCH_PATHS):
                return await self._accept_call(path, scope, receive)
            case ["health" | "ready"] | ["v1", "m"] | ["v1", "webhook", _] | ["v1", "projects", _, "settings"]:
                raise Refusal(405, f"{method} is not allowed at this path")
            case ["v1", path] if path in EVENT_PATHS or path in BATCH_PATHS:
                raise Refusal(405, f"{method} is not allowed at this path; use POST")
        raise Refusal(404, f"the path {scope['path']} does not exist; send events to /v1/batch, or to /v1/TYPE")

    async def _readiness(self) -> Response:
        try:
            await self._client.ping()
        except (RedisError, OSError):
            raise Refusal(503, "the queue is unavailable", retry_after_s=RETRY_AFTER_S) from None
        return Response(200, {"status": "ready"})

    def _settings_document(self, write_key: str, scope: Scope) -> Response:
        if not self._calls.has_write_key(write_key):
            raise Refusal(404, "no source has this write key")
        return Response(200, settings_document(write_key, _header(scope, b"host"), scope["scheme"]))

    async def _accept_call(self, path: str, scope: Scope, receive: bodies.Receive) -> Response:
        received_at = datetime.now(UTC)
        raw = await bodies.read(receive, _header(scope, b"content-encoding"))
        authorization, ip = _header(scope, b"authorization"), _client_ip(scope)
        return await self._accept(self._calls.read_call(path, authorization, raw, received_at, ip))

    async def _accept_webhook(self, name: str, scope: Scope, receive: bodies.Receive) -> Response:
        received_at = datetime.now(UTC)
        raw = await bodies.read(receive, _header(scope, b"content-encoding"))
        return await self._accept(self._calls.read_webhook(name, _header(scope, b"x-signature"), raw, received_at))

    async def _accept(self, offer: Offer) -> Response:
        """Append the valid events of an offer; list the others in the response.

        The parsed body is not referenced any more, so it takes no memory while Redis works.
        """
        source, entries, rejected = offer
        if entries:
            for result, count in Counter(await self._append(source, entries)).items():
                self._counters.add(source.name, result, count)
                if result == "reordered":
                    self._counters.add(source.name, "accepted", count)
        if not rejected:
            return _SUCCESS
        faults = [refusal.json(index) for index, refusal in rejected]
        if entries:
            return Response(200, {"success": True, "rejected": faults})
        return Response(rejected[0][1].status, {"success": False, "error": faults[0], "rejected": faults})

    def _entries(self, source: Source, event: JsonObject, body: bytes, rank: bytes) -> Entries:
        """Return the entries of an event, packed as `body`, for the queues of its source."""
        return tuple([self._commits[name].entry(source.name, event, body, rank) for name in source.destinations])

    async def _append(self, source: Source, events: list[Entries]) -> Iterable[Result]:
        """Append to every queue of the source; return for each event the best of its results."""
        appends = [
            self._commits[name].append(entries)
            for name, entries in zip(source.destinations, zip(*events, strict=True), strict=True)
        ]
        if len(appends) == 1:
            return await appends[0]
        by_queue = await asyncio.gather(*appends)
        return (min(results, key=RESULTS.index) for results in zip(*by_queue, strict=True))


def create_app() -> Ingest:
    """Return the application of this process's settings; raise SettingsError or ConfigurationError."""
    return Ingest(Settings.load())


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _client_ip(scope: Scope) -> str:
    """Return the address of the client; the server puts that of a trusted proxy's `X-Forwarded-For` here."""
    client = scope.get("client")
    return client[0] if client else ""


async def _write(send: Send, response: Response) -> None:
    body = b"" if response.body is None else orjson.dumps(response.body)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *_CORS,
        *response.headers,
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
