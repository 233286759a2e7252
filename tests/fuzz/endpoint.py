"""The application in this process, and a worker for the events that it accepts."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import redis

import lanes
import mapping
from delivery import batching
from delivery.outcomes import Delivered, Outcome
from delivery.prepare import prepare
from ingest.app import Ingest
from mapping.envelope import unpack
from settings import Settings
from tests.claims import LEASE_MS, deliver_events
from tests.fuzz.requests import Request
from tests.fuzz.verdict import Response
from tests.queues import queue_in
from tests.secrets import CREDENTIALS_TOML, WEBHOOK_SECRET
from workers.lease import Lease

# Events wait for earlier ones, for a time that is over soon after they are sent.
DOCUMENT = f"""
[sources.demo]
write_key = "demo"
webhook_secret = "{WEBHOOK_SECRET}"
destinations = ["demo"]
reorder_ms = 100

[sources.web]
write_key = "web"
trust = "public"
webhook_secret = "{WEBHOOK_SECRET}"
destinations = ["demo"]
reorder_ms = 300

[sources.strict]
write_key = "strict"
webhook_secret = "{WEBHOOK_SECRET}"
destinations = ["demo", "other"]
reorder_ms = 200
unlikely_ids = "refuse"
collect_ip = false

[destinations.demo]
{CREDENTIALS_TOML}
[destinations.other]
{CREDENTIALS_TOML}region = "eu"
batch_items = 1

[destinations.other.delivery]
ignored_keys = ["id:u1"]
"""


class Errors(logging.Handler):
    """Keeps the errors that are logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line of the log, with its exception."""
        self.lines.append(logging.Formatter("%(name)s: %(message)s").format(record))

    def take(self) -> list[str]:
        """Return the lines since the last call."""
        lines, self.lines = self.lines, []
        return lines


@asynccontextmanager
async def started(redis_url: str, directory: Path) -> AsyncIterator[Ingest]:
    """Yield the application with DOCUMENT, started; stop it at the end."""
    config, script = directory / "segue.toml", directory / "standalone.js"
    config.write_text(DOCUMENT)
    script.write_text("// analytics.js")
    url = "https://events.example.com/segment"
    app = Ingest(Settings(REDIS_URL=redis_url, config=config, settle_s=0, public_url=url, analytics_js=script))
    received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    sent: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan", "state": {}}, received.get, sent.put))
    await received.put({"type": "lifespan.startup"})
    assert (await sent.get())["type"] == "lifespan.startup.complete"
    try:
        yield app
    finally:
        await received.put({"type": "lifespan.shutdown"})
        await life


async def response_to(app: Ingest, request: Request) -> Response:
    """Return the response of the application. An exception that leaves it is that of the caller."""
    pieces = [{"type": "http.request", "body": piece, "more_body": True} for piece in request.body]
    pieces.append({"type": "http.request" if request.is_complete else "http.disconnect", "more_body": False})
    waiting, sent = iter(pieces), []

    async def receive() -> dict[str, Any]:
        return next(waiting)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": request.method,
        "path": request.path,
        "query_string": request.query,
        "headers": request.headers,
        "scheme": "http",
        "client": (request.address, 1) if request.address else None,
    }
    await app(scope, receive, send)
    start, content = sent
    return Response(start["status"], dict(start["headers"]), content["body"])


class Worker:
    """Delivers the events of a queue as a worker does, to a service that accepts everything."""

    def __init__(self, client: redis.Redis, name: str, document: dict[str, Any]) -> None:
        self.queue = queue_in(client, name)
        self.destination = mapping.destinations(document)[name]

    def work(self) -> Iterator[str]:
        """Deliver all events that wait; yield what is wrong with those of which a worker fails."""
        while lanes.stats(self.queue).waiting:
            requested_at = time.monotonic()
            claim = lanes.claim(self.queue, lease_ms=LEASE_MS, max_events=500, max_bytes=10**8, max_depth=50, poll_ms=0)
            if not claim.events:
                time.sleep((claim.next_due_ms or 0) / 1000)
                continue
            yield from self._unprepared(claim.events)
            lease = Lease(queue=self.queue, claim_id=claim.id, lease_ms=LEASE_MS, requested_at=requested_at)
            try:
                deliver_events(claim, self.queue, self.destination, _accepted, lease=lease)
            except Exception as error:
                bodies = [unpack(event.body).event for event in claim.events]
                yield f"a claim fails: {''.join(traceback.format_exception(error))}: {bodies}"
                lanes.settle(self.queue, claim.id, delivered=[event.sequence for event in claim.events])

    def _unprepared(self, events: tuple[lanes.ClaimedEvent, ...]) -> Iterator[str]:
        """Yield a line for each event that cannot be prepared."""
        for prepared in prepare(events, self.destination):
            try:
                if prepared.error is not None:
                    raise prepared.error
                _ = prepared.happened_at_ms
            except Exception as error:
                text = "".join(traceback.format_exception(error))
                yield f"an event fails: {text}: {unpack(prepared.event.body)}"


def _accepted(request: batching.Request) -> list[Outcome]:
    return [Delivered() for _ in request.items]
