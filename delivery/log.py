"""The delivery log: the last requests of a destination with their responses, item by item.

One list in Redis per destination, one entry per request, the newest first, bounded by number (`log_requests` of the
destination's `delivery` table), age and memory. The requests of a claim are written before any of its events is
settled: a reader who finds no event of a person in progress finds all requests of that person. Finding a person reads
the whole log.

An entry is 13 digits, the time in ms at which the request was sent; then, compressed with Zstandard, a JSON object
`{"path", "worker", "claimed_ms", "sent_ms", "responded_ms", "items"}`. An item is a list `[sequence, accepted at (ms),
digests of the ordering keys in hex, SOURCE:MESSAGE ID, null or the reason why it was not delivered, the body as sent]`,
and the reason why it will not be applied, if it is accepted in vain (a key of `delivery.unapplied.REASONS`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

import orjson
from redis.exceptions import OutOfMemoryError
from zstandard import ZstdCompressor, ZstdError, decompress

import lanes
from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome, Send
from delivery.scripts import run
from lanes import Queue, keys
from lanes.keys import DIGEST_BYTES
from logs import events as log
from logs.causes import cause
from mapping.envelope import JsonObject, encoded

KEPT_S: Final = 3 * 86_400
MEMORY_SHARE: Final = 0.1  # of Redis' `maxmemory`, of all logs together
_LEVEL = 1  # half a microsecond for an event
_TIME_DIGITS = 13
_PAGE = 100
_UNREADABLE: Final[JsonObject] = {"items": []}  # in place of a damaged entry

IsRemoved = Callable[[int, Sequence[bytes]], bool]  # by an event's sequence and the digests of its ordering keys


@dataclass(frozen=True, slots=True)
class Sent:
    """One item of one request. Times are Unix milliseconds of the worker's clock; `accepted_ms` is of Redis' clock."""

    sequence: int
    accepted_ms: int
    claimed_ms: int
    sent_ms: int
    responded_ms: int
    message_id: str  # SOURCE:MESSAGE ID
    refusal: str | None  # None: accepted by Customer.io
    path: str
    worker: str
    item: JsonObject  # the body as sent
    unapplied: str | None  # why it is accepted in vain, a key of `delivery.unapplied.REASONS`


class RemovedItem(NamedTuple):
    """An item that was removed from the log."""

    sequence: int
    digests: Sequence[bytes]  # of the event's ordering keys
    message_id: str  # SOURCE:MESSAGE ID
    body: JsonObject


class Recorder:
    """Records the requests of one claim.

    A worker that crashes leaves out the requests whose events were not settled; these are sent again.
    """

    def __init__(self, queue: Queue, claim: lanes.Claim, worker: str) -> None:
        self._queue = queue
        self._worker = worker
        self._claimed_ms = _now_ms()
        self._events = {event.sequence: (event.accepted_at_ms, b"".join(event.keys).hex()) for event in claim.events}
        self._compressor = ZstdCompressor(level=_LEVEL)  # its memory costs more than compressing an entry
        self._entries: list[bytes] = []

    def recording(self, send: Send) -> Send:
        """Return `send` as a function that keeps each request with its outcomes. A request that cannot be kept was sent
        all the same: the log lacks it."""

        def recorded(request: Request) -> list[Outcome]:
            sent_ms = _now_ms()
            outcomes = send(request)
            try:
                entry = self._entry(request, outcomes, sent_ms)
                self._entries.append(_packed(sent_ms, orjson.dumps(entry), self._compressor))
            except Exception as error:
                log.unhandled("an entry of the delivery log", error, destination=self._queue.name)
            return outcomes

        return recorded

    def _entry(self, request: Request, outcomes: Sequence[Outcome], sent_ms: int) -> JsonObject:
        items = [
            (
                item.sequence,
                *self._events[item.sequence],
                item.message_id,
                None if isinstance(outcome, Delivered) else outcome.reason,
                orjson.Fragment(item.data),
                *((item.unapplied,) if item.unapplied else ()),
            )
            for item, outcome in zip(request.items, outcomes, strict=True)
        ]
        return {
            "path": request.path,
            "worker": self._worker,
            "claimed_ms": self._claimed_ms,
            "sent_ms": sent_ms,
            "responded_ms": _now_ms(),
            "items": items,
        }

    def write(self) -> None:
        """Write the requests since the last call to the log; while Redis is full they are not kept."""
        if self._entries:
            try:
                self._queue.client.lpush(_key(self._queue), *self._entries)
            except OutOfMemoryError as error:  # settling the claim makes room
                log.REQUESTS_UNRECORDED.write(
                    count=len(self._entries), destination=self._queue.name, error=cause(error)
                )
            self._entries.clear()


def sent_for(queue: Queue, digest: bytes, limit: int) -> list[Sent]:
    """Return the last `limit` items of events with the ordering key of this digest, the newest first."""
    return _sent(queue, lambda item: digest in _digests(item), limit)


def sent_of(queue: Queue, message_ids: Collection[str], limit: int) -> list[Sent]:
    """Return the last `limit` items of the events with one of these ids, SOURCE:MESSAGE ID, the newest first."""
    return _sent(queue, lambda item: item[3] in message_ids, limit)


def _sent(queue: Queue, is_wanted: Callable[[list[Any]], bool], limit: int) -> list[Sent]:
    found: list[Sent] = []
    for entry in map(_unpacked, _packed_entries(queue)):
        found += [
            Sent(
                sequence=item[0],
                accepted_ms=item[1],
                claimed_ms=entry["claimed_ms"],
                sent_ms=entry["sent_ms"],
                responded_ms=entry["responded_ms"],
                message_id=item[3],
                refusal=item[4],
                path=entry["path"],
                worker=entry["worker"],
                item=item[5],
                unapplied=item[6] if len(item) > 6 else None,
            )
            for item in entry["items"]
            if is_wanted(item)
        ]
        if len(found) >= limit:
            break
    return found[:limit]


def message_ids(queue: Queue, sequences: Collection[int]) -> dict[int, str]:
    """Return SOURCE:MESSAGE ID of those events of which the log has an item."""
    items = (item for packed in _packed_entries(queue) for item in _unpacked(packed)["items"])
    return {item[0]: item[3] for item in items if item[0] in sequences}


def remove(queue: Queue, is_removed: IsRemoved) -> list[RemovedItem]:
    """Remove the items for which `is_removed` is true, and return them; the others keep their order.

    An entry that cannot be read is removed as a whole, since nothing is known of its items.
    """
    removed: list[RemovedItem] = []
    compressor = ZstdCompressor(level=_LEVEL)
    while touched := list(_with_items(queue, is_removed)):
        with queue.client.pipeline(transaction=True) as pipeline:
            for packed, entry, going in touched:
                staying = [item for item in entry["items"] if item not in going]
                if staying:
                    rest = _packed(entry["sent_ms"], encoded(entry | {"items": staying}), compressor)
                    pipeline.linsert(_key(queue), "BEFORE", cast(str, packed), cast(str, rest))
                pipeline.lrem(_key(queue), 1, cast(str, packed))
                removed += [RemovedItem(item[0], _digests(item), item[3], item[5]) for item in going]
            pipeline.execute()
    return removed


def count(queue: Queue, is_counted: IsRemoved) -> int:
    """Return how many items there are for which `is_counted` is true."""
    items = (item for packed in _packed_entries(queue) for item in _unpacked(packed)["items"])
    return sum(is_counted(item[0], _digests(item)) for item in items)


def trim(queue: Queue, requests: int, logs: int) -> None:
    """Remove the entries beyond the last `requests`, those older than KEPT_S seconds, and the oldest ones while the log
    uses more than its part of MEMORY_SHARE. `logs` is the number of logs that divide it."""
    run(queue, "trim_log", requests, KEPT_S * 1000, MEMORY_SHARE / logs)


def _with_items(queue: Queue, is_removed: IsRemoved) -> Iterator[tuple[bytes, JsonObject, list[Any]]]:
    """Yield a page of the entries that have such items: as packed, as read, and the items."""
    found = 0
    for packed in _packed_entries(queue):
        entry = _unpacked(packed)
        items = [item for item in entry["items"] if is_removed(item[0], _digests(item))]
        if items or entry is _UNREADABLE:
            yield packed, entry, items
            found += 1
        if found == _PAGE:
            return


def _packed_entries(queue: Queue) -> Iterator[bytes]:
    """Yield the entries, the newest first. An entry that is written meanwhile may appear twice or not at all."""
    start = 0
    while page := cast(list[bytes], queue.client.lrange(_key(queue), start, start + _PAGE - 1)):
        yield from page
        start += len(page)


def _digests(item: list[Any]) -> list[bytes]:
    joined = bytes.fromhex(item[2])
    return [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]


def _packed(sent_ms: int, entry: bytes, compressor: ZstdCompressor) -> bytes:
    return b"%013d%b" % (sent_ms, compressor.compress(entry))


def _unpacked(packed: bytes) -> JsonObject:
    """Return the entry, or _UNREADABLE."""
    try:
        entry: JsonObject = orjson.loads(decompress(packed[_TIME_DIGITS:]))
    except (ZstdError, ValueError):
        return _UNREADABLE
    return entry


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _key(queue: Queue) -> str:
    return keys.LOG.of(queue.name)
