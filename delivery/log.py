"""The delivery log: what was sent of late, item by item, and what was answered; for who asks what became of a person.

One list in Redis per destination, one entry per request, the newest first, bounded by number and age (`log_requests` of
the destination's `delivery` table). What a claim sent is written before any of it is settled, so that whoever removes a
person of whom nothing is under way finds all of it. Finding a person reads the whole log, which is the reader's cost.
An entry is the 13 digits of the time in ms at which it was sent, then, compressed with Zstandard, a
JSON object `{"path", "worker", "claimed_ms", "sent_ms", "answered_ms", "items"}`; an item is the list `[sequence,
accepted at (ms), digests of the ordering keys in hex, SOURCE:MESSAGE ID, null or what kept it from being delivered, the
body as sent]`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson
import zstandard

import lanes
from delivery.admission import Send
from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome
from delivery.scripts import run
from lanes import Queue, keys
from lanes.keys import DIGEST_BYTES
from mapping.envelope import JsonObject

KEPT_S: Final = 3 * 86_400
_LEVEL = 1  # half a microsecond for an event
_TIME_DIGITS = 13
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Sent:
    """One item of one request: the stations of an event. Times are Unix milliseconds, of the worker's clock but for the
    first."""

    sequence: int
    accepted_ms: int
    claimed_ms: int
    sent_ms: int
    answered_ms: int
    message_id: str
    refusal: str | None  # None: accepted by Customer.io
    path: str
    worker: str
    item: JsonObject


class Recorder:
    """Records what is sent of one claim; one that dies leaves out what was not settled and will be sent again."""

    def __init__(self, queue: Queue, claim: lanes.Claim, worker: str) -> None:
        self._queue = queue
        self._worker = worker
        self._claimed_ms = _now_ms()
        self._told = {event.sequence: (event.accepted_at_ms, b"".join(event.keys).hex()) for event in claim.events}
        self._entries: list[bytes] = []

    def recording(self, send: Send) -> Send:
        """Return `send` that keeps each request, and what was answered."""

        def recorded(request: Request) -> list[Outcome]:
            sent_ms = _now_ms()
            outcomes = send(request)
            items = [
                (
                    item.sequence,
                    *self._told[item.sequence],
                    item.message_id,
                    None if isinstance(outcome, Delivered) else outcome.reason,
                    orjson.Fragment(item.data),
                )
                for item, outcome in zip(request.items, outcomes, strict=True)
            ]
            entry = {
                "path": request.path,
                "worker": self._worker,
                "claimed_ms": self._claimed_ms,
                "sent_ms": sent_ms,
                "answered_ms": _now_ms(),
                "items": items,
            }
            self._entries.append(_packed(entry))
            return outcomes

        return recorded

    def write(self) -> None:
        """Write down what was kept since the last time."""
        if self._entries:
            self._queue.client.lpush(_key(self._queue), *self._entries)
            self._entries.clear()


def sent_for(queue: Queue, digest: bytes, most: int) -> list[Sent]:
    """Return what was sent of late for the ordering key of this digest, the newest first, `most` at most."""
    found: list[Sent] = []
    for entry in map(_unpacked, _packed_entries(queue)):
        found += [
            Sent(
                sequence=item[0],
                accepted_ms=item[1],
                claimed_ms=entry["claimed_ms"],
                sent_ms=entry["sent_ms"],
                answered_ms=entry["answered_ms"],
                message_id=item[3],
                refusal=item[4],
                path=entry["path"],
                worker=entry["worker"],
                item=item[5],
            )
            for item in entry["items"]
            if digest in _digests(item)
        ]
        if len(found) >= most:
            break
    return found[:most]


def remove(
    queue: Queue, is_gone: Callable[[int, Sequence[bytes]], bool]
) -> list[tuple[int, Sequence[bytes], str, JsonObject]]:
    """Remove the items of which `is_gone` is true, by the sequence of their event and the digests of its keys; return
    those two, the message id and the body of each."""
    removed: list[tuple[int, Sequence[bytes], str, JsonObject]] = []
    while touched := list(_with_items(queue, is_gone)):
        with queue.client.pipeline(transaction=True) as pipeline:
            for packed, entry, going in touched:
                staying = [item for item in entry["items"] if item not in going]
                if staying:
                    pipeline.linsert(
                        _key(queue), "BEFORE", cast(str, packed), cast(str, _packed(entry | {"items": staying}))
                    )
                pipeline.lrem(_key(queue), 1, cast(str, packed))
                removed += [(item[0], _digests(item), item[3], item[5]) for item in going]
            pipeline.execute()
    return removed


def trim(queue: Queue, requests: int) -> None:
    """Drop all but the last `requests` entries, and what is too old."""
    run(queue.client, "trim_log", _key(queue), requests, KEPT_S * 1000)


def _with_items(
    queue: Queue, is_gone: Callable[[int, Sequence[bytes]], bool]
) -> Iterator[tuple[bytes, JsonObject, list[Any]]]:
    """Yield a page of the entries that have such items, as packed and as read, with those items."""
    found = 0
    for packed in _packed_entries(queue):
        entry = _unpacked(packed)
        items = [item for item in entry["items"] if is_gone(item[0], _digests(item))]
        if items:
            yield packed, entry, items
            found += 1
        if found == _PAGE:
            return


def _packed_entries(queue: Queue) -> Iterator[bytes]:
    """Yield the entries, the newest first; those that come meanwhile may appear twice or not at all."""
    start = 0
    while page := cast(list[bytes], queue.client.lrange(_key(queue), start, start + _PAGE - 1)):
        yield from page
        start += len(page)


def _digests(item: list[Any]) -> list[bytes]:
    joined = bytes.fromhex(item[2])
    return [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]


def _packed(entry: JsonObject) -> bytes:
    return b"%013d%b" % (entry["sent_ms"], zstandard.compress(orjson.dumps(entry), _LEVEL))


def _unpacked(packed: bytes) -> JsonObject:
    entry: JsonObject = orjson.loads(zstandard.decompress(packed[_TIME_DIGITS:]))
    return entry


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _key(queue: Queue) -> str:
    return keys.LOG.of(queue.name)
