"""The delivery log: the last requests of a destination with their responses, item by item.

One list in Redis per destination, one entry per request, the newest first, bounded by number (`log_requests` of the
destination's `delivery` table), age and memory. The requests of a claim are written before any of its events is
settled. So a reader who finds no event of a person in progress finds all requests of that person. Finding a person
reads the whole log.

Where a ledger runs (`ledger`), it moves the entries to its files, and the log is bounded by memory and age alone. The
log has then also an entry for each claim with the decisions by which nothing was sent: its items have no body.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

import orjson
from redis.exceptions import OutOfMemoryError

import lanes
from delivery.batching import Request
from delivery.outcomes import Outcome, Send
from delivery.recording import entries, ledger
from delivery.recording.entries import Entry, LoggedItem, Packer, StoredItem
from delivery.scripts import run
from lanes import Queue, fates, keys
from lanes.clock import machine_ms
from logs import events as log
from logs.causes import cause
from mapping.envelope import JsonObject

KEPT_S: Final = ledger.AWAY_S
MEMORY_SHARE: Final = 0.1  # of Redis' `maxmemory`, of all logs together
# Where Redis has no `maxmemory`: the bytes of all logs together that wait for a ledger.
LEDGER_BYTES: Final = 256_000_000
_PAGE = 100
_DISCARDED_AT_ONCE = 500

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
    refusal: str | None  # of `entries.refusal`; None: accepted by Customer.io
    path: str
    worker: str
    item: JsonObject  # the body as sent
    unapplied: str | None  # why it is accepted in vain, a key of `delivery.unapplied.REASONS`
    outcome: str  # of `delivery.recording.entries.OUTCOMES`


class RemovedItem(NamedTuple):
    """An item that was removed from the log."""

    sequence: int
    digests: Sequence[bytes]  # of the event's ordering keys
    message_id: str  # SOURCE:MESSAGE ID
    body: JsonObject  # empty: nothing was sent


class Trimmed(NamedTuple):
    """What trimming the log found and did."""

    has_ledger: bool  # entries are kept for a ledger
    discarded: int  # entries that a ledger should have written


class Recorder:
    """Records the requests of one claim, and where there is a ledger the decisions by which nothing is sent.

    A worker that crashes leaves out the requests whose events were not settled; these are sent again.
    """

    def __init__(self, queue: Queue, claim: lanes.Claim, worker: str) -> None:
        self._queue = queue
        self._worker = worker
        self._claimed_ms = machine_ms()
        self._events = entries.columns_by_sequence(claim.events)
        self._packer = Packer(claim.id)
        self._entries: list[bytes] = []
        self._decisions: list[StoredItem] = []

    def recording(self, send: Send) -> Send:
        """Return `send` as a function that keeps each request with its outcomes. A request that cannot be kept was sent
        all the same: the log lacks it."""

        def recorded(request: Request) -> list[Outcome]:
            sent_ms = machine_ms()
            outcomes = send(request)
            try:
                items = [
                    (self._events[item.sequence], item.message_id, entries.outcome_columns(outcome, item.unapplied))
                    for item, outcome in zip(request.items, outcomes, strict=True)
                ]
                self._add(request.path, sent_ms, machine_ms(), items, [item.data for item in request.items])
            except Exception as error:
                log.unhandled("an entry of the delivery log", error, destination=self._queue.name)
            return outcomes

        return recorded

    def decide(self, sequence: int, message_id: str, counted_as: str, text: str | None = None) -> None:
        """Keep the decision about an event for which nothing is sent, or that becomes a dead letter. `message_id`:
        SOURCE:MESSAGE ID; `counted_as`: of `lanes.fates`; `text`: what the reason says in detail."""
        fate, _, reason = fates.parts(counted_as)
        self._decisions.append((self._events[sequence], message_id, entries.columns(reason, text or "", fate)))

    def write(self) -> None:
        """Write what was kept since the last call to the log; while Redis is full it is lost."""
        if self._decisions:
            try:
                self._add(None, machine_ms(), None, self._decisions, ())
            except Exception as error:
                log.unhandled("decisions for the ledger", error, destination=self._queue.name)
            self._decisions = []
        if self._entries:
            try:
                self._queue.client.lpush(_key(self._queue), *self._entries)
            except OutOfMemoryError as error:  # settling the claim makes room
                log.REQUESTS_UNRECORDED.write(
                    count=len(self._entries), destination=self._queue.name, error=cause(error)
                )
            self._entries.clear()

    def _add(
        self,
        path: str | None,
        sent_ms: int,
        responded_ms: int | None,
        items: Sequence[StoredItem],
        bodies: Sequence[bytes],
    ) -> None:
        head = {
            "path": path,
            "worker": self._worker,
            "claimed_ms": self._claimed_ms,
            "sent_ms": sent_ms,
            "responded_ms": responded_ms,
        }
        self._entries.append(self._packer.packed(sent_ms, head, items, bodies))


def sent_for(queue: Queue, digest: bytes, limit: int) -> list[Sent]:
    """Return the last `limit` items of events with the ordering key of this digest, the newest first."""
    text = digest.hex()
    return _sent(all_entries(queue, text.encode()), lambda item: text in item.digests, limit)


def sent_of(queue: Queue, message_ids: Collection[str], limit: int) -> list[Sent]:
    """Return the last `limit` items of the events with one of these ids, SOURCE:MESSAGE ID, the newest first."""
    parts = set(map(entries.part_of, message_ids))
    text = parts.pop() if len(parts) == 1 else b""
    return _sent(all_entries(queue, text), lambda item: item.message_id in message_ids, limit)


def _sent(logged: Iterator[Entry], is_wanted: Callable[[LoggedItem], bool], limit: int) -> list[Sent]:
    found: list[Sent] = []
    for entry in logged:
        if entry.path is None or entry.responded_ms is None:
            continue
        found += [
            Sent(
                sequence=item.sequence,
                accepted_ms=item.accepted_ms,
                claimed_ms=entry.claimed_ms,
                sent_ms=entry.sent_ms,
                responded_ms=entry.responded_ms,
                message_id=item.message_id,
                refusal=entries.refusal(item.outcome, item.reason),
                path=entry.path,
                worker=entry.worker,
                item=_body(item),
                unapplied=item.detail,
                outcome=item.outcome,
            )
            for item in entry.items
            if is_wanted(item)
        ]
        if len(found) >= limit:
            break
    return found[:limit]


def message_ids(queue: Queue, sequences: Collection[int]) -> dict[int, str]:
    """Return SOURCE:MESSAGE ID of those events of which the log has an item."""
    items = (item for entry in all_entries(queue) for item in entry.items)
    return {item.sequence: item.message_id for item in items if item.sequence in sequences}


def all_entries(queue: Queue, containing: bytes = b"") -> Iterator[Entry]:
    """Yield the entries that can be read and contain this text, the newest first."""
    return (entry for packed in _packed_entries(queue) if (entry := entries.unpacked(packed, containing)) is not None)


def remove(queue: Queue, is_removed: IsRemoved) -> list[RemovedItem]:
    """Remove the items for which `is_removed` is true, and return them; the others keep their order.

    An entry that cannot be read is removed as a whole, since nothing is known of its items.
    """
    removed: list[RemovedItem] = []
    while touched := list(_with_items(queue, is_removed)):
        with queue.client.pipeline(transaction=True) as pipeline:
            for packed, entry, going in touched:
                rest = entries.without(entry, going) if entry else None
                if rest is not None:
                    pipeline.linsert(_key(queue), "BEFORE", cast(str, packed), cast(str, rest))
                pipeline.lrem(_key(queue), 1, cast(str, packed))
                removed += [
                    RemovedItem(item.sequence, item.digest_list(), item.message_id, _body(item)) for item in going
                ]
            pipeline.execute()
    return removed


def count(queue: Queue, is_counted: IsRemoved) -> int:
    """Return how many items there are for which `is_counted` is true."""
    items = (item for entry in all_entries(queue) for item in entry.items)
    return sum(is_counted(item.sequence, item.digest_list()) for item in items)


def trim(queue: Queue, requests: int, logs: int) -> Trimmed:
    """Remove the entries beyond the last `requests` and those older than KEPT_S seconds. While the log uses more than
    its part of MEMORY_SHARE, remove the oldest ones. `logs` is the number of logs that divide it.

    Where a ledger is to write the entries, their number has no limit, and without `maxmemory` they use LEDGER_BYTES at
    most.
    """
    has_ledger, discarded = run(queue, "trim_log", requests, KEPT_S * 1000, MEMORY_SHARE / logs, LEDGER_BYTES // logs)
    return Trimmed(bool(has_ledger), discarded)


def oldest(queue: Queue, most_bytes: int) -> list[bytes]:
    """Return the oldest entries as they are stored, the oldest first: as many as have this size, and one at least."""
    found: list[bytes] = []
    size = 0
    while size < most_bytes:
        page = cast(list[bytes], queue.client.lrange(_key(queue), -len(found) - _PAGE, -len(found) - 1))
        found += reversed(page)
        size += sum(map(len, page))
        if len(page) < _PAGE:
            break
    return found


def discard_written(queue: Queue, ids: Sequence[bytes]) -> None:
    """Remove entries that `oldest` returned, by their ids in the same order."""
    for start in range(0, len(ids), _DISCARDED_AT_ONCE):
        run(queue, "discard_written", *ids[start : start + _DISCARDED_AT_ONCE])


def _with_items(queue: Queue, is_removed: IsRemoved) -> Iterator[tuple[bytes, Entry | None, list[LoggedItem]]]:
    """Yield a page of the entries that have such items: as packed, as read, and the items."""
    found = 0
    for packed in _packed_entries(queue):
        entry = entries.unpacked(packed)
        items = [item for item in entry.items if is_removed(item.sequence, item.digest_list())] if entry else []
        if items or entry is None:
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


def _body(item: LoggedItem) -> JsonObject:
    body: JsonObject = orjson.loads(item.body) if item.body is not None else {}
    return body


def _key(queue: Queue) -> str:
    return keys.LOG.of(queue.name)
