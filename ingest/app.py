"""The HTTP endpoint: Segment's Tracking API and its webhook, as one ASGI application.

It is plain ASGI because every event passes through it: a request costs a few dictionaries, one group commit and one
response. The application answers 200 only after the events are durable in Redis.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from ingest import bodies, paths, responses
from ingest.acceptance import Acceptance, Configuration
from ingest.browser import analytics_js, pixel
from ingest.browser.public_url import PublicUrl
from ingest.calls import Offer
from ingest.counters import Counters
from ingest.errors import Refusal
from ingest.queues import redis_errors
from ingest.queues.redis_connection import Connection
from ingest.queues.wakeups import Wakeups
from ingest.reload import Reload
from ingest.responses import SUCCESS, Response, Send, json_response, refused
from lanes.server.connect import connect_async
from lanes.server.redis_url import address
from lanes.taps import streams
from logs import events as log
from metrics import endpoint, traces
from metrics.registry import INGEST_DURATION
from settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_READING = ("GET", "HEAD")
# Of a response that repeats the header `Host`: a cache must not hand it to another client.
_DEPENDS_ON_HOST = ((b"vary", b"host, x-forwarded-proto"), (b"cache-control", b"no-store"))
_WATCH_S = 1.0
_REDIS_S = 2  # longer than a blip; a request is refused when Redis does not answer for so long

Scope = Mapping[str, Any]


class Ingest:
    """The ASGI application. It connects to Redis when the server starts it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._first = Configuration.of(settings.document())
        self._public_url = PublicUrl(settings.public_url)
        self._scripts = analytics_js.scripts(settings.analytics_js)
        self._counters = Counters()
        self.reload = Reload(settings, self._acceptance_of)
        tracer = traces.tracer_of("ingest", settings.traces)
        self._answer = self._respond if tracer is None else partial(self._traced, tracer)
        self._is_stopping = False

    def fail_readiness(self) -> None:
        """Have `/ready` answer 503 from now on. Events are accepted as before."""
        self._is_stopping = True

    async def __call__(self, scope: Scope, receive: bodies.Receive, send: Send) -> None:
        """Serve one HTTP request, or the lifespan of the server."""
        if scope["type"] == "lifespan":
            scope["state"]["counters"] = self._counters  # for `serving.protocol`, which refuses requests too
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            began = time.perf_counter()
            response = await self._answer(scope, receive)
            INGEST_DURATION.add([time.perf_counter() - began], str(response.status))
            await responses.write(send, response, _origin(scope))

    async def _lifespan(self, receive: bodies.Receive, send: Send) -> None:
        await receive()
        try:
            tasks = self._start()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": f"ingest cannot start: {error}"})
            return
        # What is loaded now stays. A request allocates many small objects without cycles, which end with it: full
        # collections would find nothing and cost time.
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        self._write_started()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await end(tasks)
        await self._counters.write(self._client)
        with suppress(*redis_errors.ERRORS):
            await self.reload.forget(self._client)
        self._wakeups.close()
        await self._client.aclose()
        log.repeats.flush(all_at_once=True)
        log.PROCESS_STOPPED.write()
        await send({"type": "lifespan.shutdown.complete"})

    def _write_started(self) -> None:
        settings = self._settings
        log.PROCESS_STARTED.write(
            version=metadata.version("segue"),
            configuration=self._first.digest,
            redis=address(settings.redis_url),
            listens=f"{settings.host}:{settings.ingest_port}",
            metrics=endpoint.start("ingest", settings.metrics_host, settings.metrics_port),
            destinations=" ".join(self._first.destinations),
        )

    def _start(self) -> list[asyncio.Task[None]]:
        """Make what requests use; return the tasks that write the counts and watch."""
        self._client = connect_async(
            self._settings.redis_url,
            connection_class=Connection,
            socket_timeout=_REDIS_S,
            socket_connect_timeout=_REDIS_S,
        )
        self._wakeups = Wakeups(self._settings.broker())
        self._acceptance = self._acceptance_of(self._first)
        self._checking: asyncio.Task[None] | None = None
        return [
            asyncio.create_task(self._counters.write_regularly(self._client)),
            asyncio.create_task(self._watch()),
        ]

    def _acceptance_of(self, configuration: Configuration) -> Acceptance:
        return Acceptance(configuration, self._settings, self._client, self._wakeups, self._counters)

    async def _watch(self) -> None:
        """Do the regular work until cancelled. Measure the shares of the sources and the memory of Redis. Follow
        requests to load the configuration, and whether taps are watched. Write the lines of the log that are due."""
        while True:
            log.repeats.flush()
            acceptance = self._acceptance
            await asyncio.gather(
                *(
                    _logged("a measurement of shares", shares.measure, destination=name)
                    for name, shares in acceptance.shares.items()
                ),
                _logged("a measurement of memory", acceptance.measure_memory),
                _logged("the tap", partial(streams.follow_async, self._counters.tap, self._client)),
            )
            await _logged("loading the configuration", self._follow)
            await asyncio.sleep(_WATCH_S)

    async def _follow(self) -> None:
        self._acceptance = await self.reload.follow(self._client, self._acceptance)

    async def _traced(self, tracer: Tracer, scope: Scope, receive: bodies.Receive) -> Response:
        with traces.received(tracer, _header(scope, b"traceparent")) as span:
            response = await self._respond(scope, receive)
            span.set_attribute("http.response.status_code", response.status)
        return response

    async def _respond(self, scope: Scope, receive: bodies.Receive) -> Response:
        try:
            return await self._route(scope, receive)
        except Refusal as refusal:
            self._refuse(refusal)
            return refused(refusal)
        except Exception as error:
            log.unhandled("a request", error)
            internal = Refusal(500, "internal error; send the request again", code="internal_error")
            self._counters.refuse(internal)
            return refused(internal)

    def _refuse(self, refusal: Refusal) -> None:
        refusal.write()
        self._counters.refuse(refusal)

    async def _route(self, scope: Scope, receive: bodies.Receive) -> Response:
        method, parts = scope["method"], self._public_url.parts(scope["path"])
        if method == "OPTIONS":
            return responses.preflight(_header(scope, b"access-control-request-headers"))
        call = paths.call(parts)
        if call is not None and method == "POST":
            return await self._accept_call(call, scope, receive)
        match parts:
            case ["health"] if method in _READING:
                return json_response(200, {"status": "ok"})
            case ["ready"] if method in _READING:
                return await self._readiness()
            case ["v1", "projects", write_key, "settings"] if method in _READING:
                return self._settings_document(write_key, scope)
            case ["analytics.js", "v1", _, analytics_js.SCRIPT as name] if method in _READING:
                return self._script(name)
            case ["analytics-next", "bundles", name] if method in _READING:
                return self._script(name)
            case ["v1", "pixel", path] if method in _READING:
                return await self._accept_pixel(path, scope, pixel.body)
            case ["pixel", "v1", path] if method in _READING:
                return await self._accept_pixel(path, scope, pixel.body_of_members)
            case ["v1", "m"] if method == "POST":
                await bodies.read(receive, "")
                return SUCCESS
            case ["v1", "webhook", name] if method == "POST":
                return await self._accept_webhook(name, scope, receive)
        raise paths.refusal(method, parts, scope["path"])

    async def _readiness(self) -> Response:
        """Check the queues once for all requests that ask meanwhile: each check takes a connection to Redis."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check())
        try:
            await asyncio.shield(self._checking)
        except Refusal as refusal:  # of no sender, so it is not counted
            refusal.write()
            return refused(refusal)
        return json_response(200, {"status": "ready"})

    async def _check(self) -> None:
        if self._is_stopping:
            raise Refusal(503, "this process stops", code="stopping")
        await self._acceptance.check()

    def _settings_document(self, write_key: str, scope: Scope) -> Response:
        source = self._acceptance.calls.source_of(write_key)
        if source is None:
            raise Refusal(404, "no source has this write key")
        protocol, api_host = self._public_url.api_address(
            _header(scope, b"host"), scope["scheme"], _header(scope, b"x-forwarded-proto")
        )
        document = analytics_js.settings_document(write_key, api_host, protocol, source.browser_batch_ms)
        return json_response(200, document, () if self._public_url.is_stated else _DEPENDS_ON_HOST)

    def _script(self, name: str) -> Response:
        if name not in self._scripts:
            raise Refusal(404, f"there is no {name} here; SEGUE_ANALYTICS_JS names the script, see docs/ingest.md")
        return Response(200, self._scripts[name], b"text/javascript; charset=utf-8")

    async def _accept_call(self, path: str, scope: Scope, receive: bodies.Receive) -> Response:
        raw = await bodies.read(receive, _header(scope, b"content-encoding"))
        received_at, acceptance = datetime.now(UTC), self._acceptance
        authorization, ip = _header(scope, b"authorization"), _client_ip(scope)
        offer = acceptance.calls.read_call(path, authorization, raw, received_at, ip, _named_key(scope))
        return await self._accept(acceptance, offer)

    async def _accept_pixel(self, path: str, scope: Scope, body_of: Callable[[bytes], bytes]) -> Response:
        """Accept the event of a pixel. An image is the only answer, so an event that is refused is lost and counted.

        `body_of` returns the JSON of the event in a query.
        """
        event_path = paths.call(["v1", path])
        if scope["method"] == "GET" and event_path is not None:
            try:
                raw, ip = body_of(scope["query_string"]), _client_ip(scope)
                acceptance = self._acceptance
                offer = acceptance.calls.read_call(event_path, "", raw, datetime.now(UTC), ip)
                try:
                    await self._accept(acceptance, offer)
                except Exception as error:
                    self._counters.add(offer.source.name, "rejected", len(offer.entries))
                    if isinstance(error, Refusal):
                        raise
                    log.unhandled("a pixel", error)
            except Refusal as refusal:
                self._refuse(refusal)
        return responses.PIXEL

    async def _accept_webhook(self, name: str, scope: Scope, receive: bodies.Receive) -> Response:
        raw = await bodies.read(receive, _header(scope, b"content-encoding"))
        try:
            received_at, acceptance = datetime.now(UTC), self._acceptance
            offer = acceptance.calls.read_webhook(name, _header(scope, b"x-signature"), raw, received_at)
            response = await self._accept(acceptance, offer)
        except Refusal as refusal:
            self._refuse(refusal)
            response = refused(refusal)
        # Segment's webhook repeats a request after 5xx only (segmentio/segment-docs,
        # src/connections/destinations/catalog/webhooks/index.md, "Retries").
        return replace(response, status=503) if response.status == 429 else response

    async def _accept(self, acceptance: Acceptance, offer: Offer) -> Response:
        """Append the valid events of an offer; list the others in the response.

        The parsed body is not referenced any more, so it takes no memory while Redis works.
        """
        source, entries, rejected = offer
        if entries:
            for result, count in Counter(await acceptance.append(source, entries)).items():
                self._counters.add(source.name, result, count)
                if result == "reordered":
                    self._counters.add(source.name, "accepted", count)
        if not rejected:
            return SUCCESS
        if entries:
            faults = [refusal.json(index) for index, refusal in rejected]
            return json_response(200, {"success": True, "rejected": faults})
        return refused(rejected[0][1], rejected)


async def _logged(what: str, work: Callable[[], Awaitable[None]], **fields: str) -> None:
    """Do regular work. Appends report the faults of Redis; other exceptions are logged, and it goes on.

    The work begins here: a task that is cancelled before it starts leaves no coroutine behind.
    """
    try:
        await work()
    except redis_errors.ERRORS:
        pass
    except Exception as error:
        log.unhandled(what, error, **fields)


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel the tasks, and wait for their end: an interrupted write returns its counts first.

    The Redis client loses a cancellation that comes while it connects, so it is repeated.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _origin(scope: Scope) -> bytes:
    """Return the page that sends events. What a page loads is the same for all, and a cache may keep it."""
    if scope["method"] in _READING:
        return b""
    return _header(scope, b"origin").encode("latin-1")


def _named_key(scope: Scope) -> str:
    """Return `X-Write-Key`, Jitsu's header, else the parameter `writeKey`: a beacon of RudderStack has no headers."""
    query = scope["query_string"]
    parameters = dict(parse_qsl(query.decode("latin-1"))) if query else {}
    return _header(scope, b"x-write-key") or parameters.get("writeKey", "")


def _client_ip(scope: Scope) -> str:
    """Return the address of the client; the server puts that of a trusted proxy's `X-Forwarded-For` here."""
    client = scope.get("client")
    return client[0] if client else ""
