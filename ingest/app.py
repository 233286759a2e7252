"""The HTTP endpoint: Segment's Tracking API and its webhook, as one ASGI application.

Plain ASGI, because every event passes here: a request is a few dictionaries, one group append and one answer.
`200` is said when the events are durable in Redis, never before.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson
import redis.asyncio
from redis.exceptions import RedisError

import lanes
import mapping
from ingest import bodies, signature
from ingest.errors import Refusal
from ingest.events import MAX_BATCH_EVENTS, completed, packed, shared
from ingest.group_commit import FATES, RETRY_AFTER_S, Fate, GroupCommit
from ingest.sources import Source, sources
from ingest.wakeups import Wakeups
from lanes import keys
from mapping.envelope import JsonObject
from settings import Settings

log = logging.getLogger(__name__)

# The last part of a path to the type of its events; the short ones are those of analytics.js.
KINDS: Final = {
    **{kind: kind for kind in ("identify", "track", "page", "screen", "group", "alias")},
    **{kind[0]: kind for kind in ("identify", "track", "page", "screen", "group", "alias")},
    mapping.DELETION: mapping.DELETION,
}
_BATCHES = frozenset({"batch", "import", "b"})
_COUNT_EVERY_S = 0.25
_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, content-type, content-encoding"),
    (b"access-control-max-age", b"86400"),
)

Entries = tuple[lanes.NewEvent, ...]  # an event as it goes onto each queue that its source feeds
Scope = Mapping[str, Any]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said to a request. Without a body it is empty."""

    status: int
    body: JsonObject | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


_DONE = Answer(200, {"success": True})


class Offer(NamedTuple):
    """What is left of a request when it was read: the good events of it, and what is wrong with the others."""

    source: Source
    good: list[Entries]
    rejected: list[tuple[int, Refusal]]


class Ingest:
    """The application. Its connections are made when the server starts it, and closed when it stops."""

    def __init__(self, settings: Settings) -> None:
        document = settings.document()
        self._settings = settings
        self._destinations = mapping.destinations(document)
        self._sources = {source.name: source for source in sources(document)}
        self._by_write_key = {source.write_key: source for source in self._sources.values()}
        self._counts: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: bodies.Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            answer = await self._answer(scope, receive)
            await _say(send, answer)

    async def _live(self, receive: bodies.Receive, send: Send) -> None:
        await receive()
        self._client = redis.asyncio.Redis.from_url(
            self._settings.redis_url, socket_timeout=5, socket_connect_timeout=2
        )
        self._wakeups = Wakeups(self._settings.redis_url)
        self._commits = {
            name: GroupCommit(self._queue(name, destination), destination, self._wakeups)
            for name, destination in self._destinations.items()
        }
        counting = asyncio.create_task(self._count())
        # What was loaded stays; what a request brings is many small objects without cycles, and gone with it.
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        counting.cancel()
        await self._write_counts()
        self._wakeups.close()
        await self._client.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    def _queue(self, name: str, destination: mapping.Destination) -> lanes.AsyncQueue:
        values = self._settings.queue_config(destination.delivery.remember_days)
        return lanes.AsyncQueue(client=self._client, name=name, **values)

    async def _answer(self, scope: Scope, receive: bodies.Receive) -> Answer:
        try:
            return await self._route(scope, receive)
        except Refusal as refusal:
            after = ((b"retry-after", b"%d" % refusal.retry_after_s),) if refusal.retry_after_s else ()
            return Answer(refusal.status, {"success": False, "error": refusal.json()}, after)
        except Exception:
            log.exception("%s %s: an error that nobody thought of", scope["method"], scope["path"])
            return Answer(500, {"success": False, "error": {"message": "an error on our side; send it again later"}})

    async def _route(self, scope: Scope, receive: bodies.Receive) -> Answer:
        method = scope["method"]
        match scope["path"].strip("/").split("/"):
            case ["health"]:
                return Answer(200, {"status": "ok"})
            case ["ready"]:
                return await self._readiness()
            case ["v1", *_] if method == "OPTIONS":
                return Answer(204)
            case ["v1", "projects", write_key, "settings"] if method in ("GET", "HEAD"):
                return self._settings_of(write_key, scope)
            case ["v1", "m"] if method == "POST":
                await bodies.read(receive, "")
                return _DONE
            case ["v1", "webhook", name] if method == "POST":
                return await self._take_webhook(name, scope, receive)
            case ["v1", last] if method == "POST" and (last in KINDS or last in _BATCHES):
                return await self._take_call(last, scope, receive)
            case ["health" | "ready"] | ["v1", "m"] | ["v1", "webhook", _] | ["v1", "projects", _, "settings"]:
                raise Refusal(405, f"{method} is not possible here")
            case ["v1", last] if last in KINDS or last in _BATCHES:
                raise Refusal(405, f"{method} is not possible here; use POST")
        raise Refusal(404, f"there is nothing at {scope['path']}; events go to /v1/track, /v1/batch and the like")

    async def _readiness(self) -> Answer:
        try:
            await self._client.ping()
        except (RedisError, OSError):
            raise Refusal(503, "the queue cannot be reached", retry_after_s=RETRY_AFTER_S) from None
        return Answer(200, {"status": "ready"})

    def _settings_of(self, write_key: str, scope: Scope) -> Answer:
        """Return what analytics.js loads first: where it should send, which is here."""
        if write_key not in self._by_write_key:
            raise Refusal(404, "there is no source with this write key")
        host = _header(scope, b"host")
        segment = {
            "apiKey": write_key,
            "apiHost": f"{host}/v1",
            "protocol": scope["scheme"],
            "addBundledMetadata": True,
            "unbundledIntegrations": [],
            "maybeBundledConfigIds": {},
            "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
        }
        return Answer(
            200,
            {
                "integrations": {"Segment.io": segment},
                "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
                "edgeFunction": {},
                "analyticsNextEnabled": True,
                "middlewareSettings": {},
                "enabledMiddleware": {},
                "metrics": {"sampleRate": 0},
                "legacyVideoPluginsEnabled": False,
                "remotePlugins": [],
            },
        )

    async def _take_call(self, last: str, scope: Scope, receive: bodies.Receive) -> Answer:
        received_at = datetime.now(UTC)
        raw = await bodies.read(receive, _header(scope, b"content-encoding"))
        return await self._take(self._read_call(last, scope, raw, received_at))

    async def _take_webhook(self, name: str, scope: Scope, receive: bodies.Receive) -> Answer:
        received_at = datetime.now(UTC)
        raw = await bodies.read(receive, _header(scope, b"content-encoding"))
        return await self._take(self._read_webhook(name, scope, raw, received_at))

    async def _take(self, offer: Offer) -> Answer:
        """Append the good events and say which ones are not.

        What was parsed is gone by now, so that it takes no room in memory while Redis is at work.
        """
        source, good, rejected = offer
        if good:
            for fate, count in Counter(await self._append(source, good)).items():
                self._counts[f"{source.name}:{fate}"] += count
        if not rejected:
            return _DONE
        faults = [refusal.json(index) for index, refusal in rejected]
        if good:
            return Answer(200, {"success": True, "rejected": faults})
        return Answer(rejected[0][1].status, {"success": False, "error": faults[0], "rejected": faults})

    def _read_call(self, last: str, scope: Scope, raw: bytes, received_at: datetime) -> Offer:
        body = bodies.parsed(raw)
        if not isinstance(body, dict):
            raise Refusal(400, "the body must be a JSON object")
        source = self._authenticated(scope, body)
        if last not in _BATCHES:
            return self._read_one(source, body | {"type": KINDS[last]}, received_at)
        events = body.get("batch")
        if not isinstance(events, list) or not events:
            raise Refusal(400, "batch: must be a list of events, and not empty", "batch")
        if len(events) > MAX_BATCH_EVENTS:
            raise Refusal(413, f"batch: must not have more than {MAX_BATCH_EVENTS:,} events", "batch")
        return self._read_events(source, events, shared(body), received_at, correct_clock=last != "import")

    def _read_webhook(self, name: str, scope: Scope, raw: bytes, received_at: datetime) -> Offer:
        source = self._sources.get(name)
        if source is None or source.webhook_secret is None:
            raise Refusal(401, "there is no source of this name with a webhook secret")
        if not signature.is_signed(raw, _header(scope, b"x-signature"), source.webhook_secret):
            raise Refusal(401, "X-Signature: is not the hex HMAC-SHA1 of the body with the secret", "X-Signature")
        content = bodies.parsed(raw)
        events = content if isinstance(content, list) else [content]
        if len(events) > MAX_BATCH_EVENTS:
            raise Refusal(413, f"the array must not have more than {MAX_BATCH_EVENTS:,} events")
        return self._read_events(source, events, {}, received_at, correct_clock=False)

    def _authenticated(self, scope: Scope, body: JsonObject) -> Source:
        """Return the source whose write key the request has: as the user name, or as a member of its body."""
        write_key = _user_name(_header(scope, b"authorization")) or body.get("writeKey")
        if not write_key and isinstance(body.get("batch"), list) and body["batch"]:
            first = body["batch"][0]
            write_key = first.get("writeKey") if isinstance(first, dict) else None
        source = self._by_write_key.get(write_key) if isinstance(write_key, str) else None
        if source is None:
            fault = "is not that of any source" if write_key else "is missing; send it as the user name or in the body"
            raise Refusal(401, f"writeKey: {fault}", "writeKey")
        return source

    def _read_one(self, source: Source, event: JsonObject, received_at: datetime) -> Offer:
        try:
            return Offer(source, [self._checked(source, event, {}, received_at, correct_clock=True)], [])
        except Refusal:
            self._counts[f"{source.name}:rejected"] += 1
            raise

    def _read_events(
        self, source: Source, events: list[Any], common: JsonObject, received_at: datetime, *, correct_clock: bool
    ) -> Offer:
        good: list[Entries] = []
        rejected: list[tuple[int, Refusal]] = []
        for index, event in enumerate(events):
            try:
                good.append(self._checked(source, event, common, received_at, correct_clock=correct_clock))
            except Refusal as refusal:
                rejected.append((index, refusal))
        self._counts[f"{source.name}:rejected"] += len(rejected)
        return Offer(source, good, rejected)

    def _checked(
        self, source: Source, event: Any, common: JsonObject, received_at: datetime, *, correct_clock: bool
    ) -> Entries:
        """Return the event completed, as it goes onto the queues; raise Refusal."""
        if isinstance(event, dict) and event.get("writeKey", source.write_key) != source.write_key:
            raise Refusal(401, "writeKey: is not that of the request", "writeKey")
        good = completed(event, common, received_at, correct_clock=correct_clock)
        return self._entries(source, good, packed(source.name, good))

    def _entries(self, source: Source, event: JsonObject, body: bytes) -> Entries:
        """Return the event, packed as `body`, for every queue that the source feeds."""
        return tuple([self._commits[name].entry(source.name, event, body) for name in source.destinations])

    async def _append(self, source: Source, events: list[Entries]) -> Iterable[Fate]:
        """Append to every queue that the source feeds; return the best that became of each event in any of them."""
        appends = [
            self._commits[name].append(entries)
            for name, entries in zip(source.destinations, zip(*events, strict=True), strict=True)
        ]
        if len(appends) == 1:
            return await appends[0]
        everywhere = await asyncio.gather(*appends)
        return (min(fates, key=FATES.index) for fates in zip(*everywhere, strict=True))

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(_COUNT_EVERY_S)
            await self._write_counts()

    async def _write_counts(self) -> None:
        """Add what was counted to the totals; what cannot be added now is added later."""
        counts, self._counts = self._counts, Counter()
        if not +counts:
            return
        try:
            pipeline = self._client.pipeline(transaction=True)
            for field, count in counts.items():
                pipeline.hincrby(keys.SOURCES.name, field, count)
            await pipeline.execute()
        except (RedisError, OSError):
            self._counts += counts
        except asyncio.CancelledError:
            self._counts += counts
            raise


def create_app() -> Ingest:
    """Return the application of this process's settings; raise SettingsError or ConfigurationError."""
    return Ingest(Settings.load())


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _user_name(authorization: str) -> str | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() == "basic":
        with suppress(ValueError):
            return base64.b64decode(encoded).decode().partition(":")[0] or None
    return None


async def _say(send: Send, answer: Answer) -> None:
    body = b"" if answer.body is None else orjson.dumps(answer.body)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *_CORS, *answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
