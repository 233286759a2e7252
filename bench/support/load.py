"""The sender of a benchmark: posts events over HTTP as fast as ingest accepts them, or at a steady rate.

    python -m bench.support.load PORT EVENTS BATCH CONNECTIONS PEOPLE [RATE]

All requests are built before the clock starts; only the times of sending are filled in later. All events of a person
use one connection, one request after the other, so the order in which ingest accepts them is known. Prints one JSON
line: `{"started_at", "ended_at", "refused", "cpu_s"}`. Times are Unix times; `refused` has the first statuses but 200.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import sys
import time
import uuid
from datetime import UTC, datetime

import orjson
import uvloop

_RUN = uuid.uuid4().hex[:8]
# Replaced by the time at which the event is sent.
_AT = b'"at":1700000000.000000'
_TIMESTAMP = b"2026-11-23T10:11:12.345Z"


def event(number: int, person: int, index: int) -> dict[str, object]:
    """Return a track call of some 650 bytes with two identifiers, as analytics.js sends it.

    `index` counts the events of the person.
    """
    return {
        "type": "track",
        "messageId": f"ajs-next-{_RUN}-{number:012d}",
        "userId": f"user-{person:06d}",
        "anonymousId": f"5f0c31d8-0000-4000-8000-{person:012d}",
        "event": "Order Completed",
        "properties": {
            "n": index,
            "at": 1700000000.0,
            "order_id": f"o-{number}",
            "total": 129.95,
            "currency": "EUR",
            "products": [{"sku": "A-1", "qty": 2, "price": 49.9}, {"sku": "B-7", "qty": 1, "price": 30.15}],
        },
        "context": {
            "ip": "203.0.113.7",
            "locale": "de-DE",
            "library": {"name": "analytics.js", "version": "npm-next-1.70.0"},
            "page": {"path": "/checkout/done", "url": "https://shop.example.com/checkout/done"},
        },
        "timestamp": _TIMESTAMP.decode(),
    }


def written(number: int, person: int, index: int) -> bytes:
    """Return the event as JSON, with the time of sending still to be filled in."""
    return orjson.dumps(event(number, person, index)).replace(b'"at":1700000000.0', _AT)


def requests(events: int, batch: int, connections: int, people: int) -> list[list[bytes]]:
    """Return the requests of each connection.

    Connection c has the people c, c + connections, …, in turns. The numbers of events of two people differ by one at
    most.
    """
    numbers = itertools.count()
    result: list[list[bytes]] = []
    for connection in range(connections):
        own = range(connection, people, connections)
        rows = [
            written(next(numbers), person, index)
            for index in range(-(-events // people))
            for person in own
            if index * people + person < events
        ]
        result.append([_request(rows[first : first + batch]) for first in range(0, len(rows), batch)])
    return result


def _request(rows: list[bytes]) -> bytes:
    single = len(rows) == 1
    body = rows[0] if single else b'{"batch":[' + b",".join(rows) + b"]}"
    path = b"track" if single else b"batch"
    user = base64.b64encode(b"demo:")
    head = b"POST /v1/%b HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic %b\r\ncontent-type: application/json\r\n"
    return head % (path, user) + b"content-length: %d\r\n\r\n" % len(body) + body


def _sent_now(request: bytes) -> bytes:
    now = datetime.now(UTC)
    timestamp = now.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    return request.replace(_AT, b'"at":%.6f' % now.timestamp()).replace(_TIMESTAMP, timestamp.encode())


async def send(port: int, pending: list[bytes], every_s: float, refused: list[int]) -> None:
    """Send the requests over one connection, at least `every_s` seconds apart; add refusals to `refused`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    due = time.monotonic()
    for request in pending:
        if every_s:
            due += every_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        writer.write(_sent_now(request))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            refused.append(int(head.split(b" ", 2)[1]))
    writer.close()


async def run(port: int, events: int, batch: int, connections: int, people: int, rate: float) -> None:
    """Send the events and print the figures; `rate` is in events/s, 0 means without a limit."""
    if people < connections:
        raise SystemExit(f"{connections} connections need as many people, not {people}")
    pending = requests(events, batch, connections, people)
    every_s = batch * connections / rate if rate else 0.0
    refused: list[int] = []
    started_at, before = time.time(), time.process_time()
    await asyncio.gather(*(send(port, own, every_s, refused) for own in pending))
    figures = {"started_at": started_at, "ended_at": time.time(), "refused": refused[:5]}
    print(orjson.dumps(figures | {"cpu_s": time.process_time() - before}).decode())


if __name__ == "__main__":
    numbers = [int(value) for value in sys.argv[1:6]]
    uvloop.run(run(*numbers, float(sys.argv[6]) if len(sys.argv) > 6 else 0.0))
