"""Listing: the unfinished events of a queue with their states. Nothing here writes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from lanes import keys, records
from lanes.append import generation_ms
from lanes.claims import claimant
from lanes.clock import redis_ms, reply_ms
from lanes.inspection import Waiting
from lanes.queue import Queue

_PAGE = 500

State = Literal["ready", "delayed", "claimed", "blocking", "blocked"]


@dataclass(frozen=True, slots=True)
class ListedEvent:
    """An unfinished event and its state: `blocking` is a dead letter, `blocked` is behind another event."""

    sequence: int
    accepted_at_ms: int
    body: bytes  # empty: it was erased while a claim owned it
    state: State
    due_in_ms: int | None = None  # of one that is delayed
    by: str | None = None  # the claimant, of one that is claimed


def all_events(queue: Queue) -> Iterator[Waiting]:
    """Yield all unfinished events, in no order. One that arrives or leaves meanwhile may be missing."""
    found = cast(Iterator[tuple[bytes, bytes]], queue.client.hscan_iter(keys.EVENT.of(queue.name), count=_PAGE))
    for name, record in found:
        accepted_at_ms, _, body = records.read_record(record)
        yield Waiting(int(name), accepted_at_ms, body)


def first_events(queue: Queue, wanted: Callable[[Waiting], bool], most: int) -> list[ListedEvent]:
    """Return the wanted events that were accepted first, in their order, `most` of them. This reads the whole queue."""
    found = heapq.nsmallest(most, filter(wanted, all_events(queue)), key=lambda event: event.sequence)
    return with_states(queue, found)


def with_states(queue: Queue, found: Sequence[Waiting]) -> list[ListedEvent]:
    """Return the events with their states at this moment."""
    if not found:
        return []
    names = [str(event.sequence) for event in found]
    claims = [name.decode() for name in cast(list[bytes], queue.client.zrange(keys.CLAIMS.of(queue.name), 0, -1))]
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.time()
        pipeline.zmscore(keys.READY.of(queue.name), names)
        pipeline.smismember(keys.BLOCKING.of(queue.name), names)
        for claim in claims:
            pipeline.smismember(keys.CLAIM.of(queue.name, claim), names)
        reply, due, blocking, *owned = pipeline.execute()
    now_ms = reply_ms(reply)
    return [
        _listed(
            event,
            due_in_ms=None if due[index] is None else int(due[index]) - now_ms,
            claim=next((claim for claim, flags in zip(claims, owned, strict=True) if flags[index]), None),
            is_blocking=bool(blocking[index]),
        )
        for index, event in enumerate(found)
    ]


def _listed(event: Waiting, *, due_in_ms: int | None, claim: str | None, is_blocking: bool) -> ListedEvent:
    facts = (event.sequence, event.accepted_at_ms, event.body)
    if is_blocking:
        return ListedEvent(*facts, "blocking")
    if claim is not None:
        return ListedEvent(*facts, "claimed", by=claimant(claim))
    if due_in_ms is None:
        return ListedEvent(*facts, "blocked")
    return ListedEvent(*facts, "delayed", due_in_ms) if due_in_ms > 0 else ListedEvent(*facts, "ready")


def read_event(queue: Queue, sequence: int) -> ListedEvent | None:
    """Return the unfinished event with this sequence; None: there is none."""
    record = cast(bytes | None, queue.client.hget(keys.EVENT.of(queue.name), str(sequence)))
    if record is None:
        return None
    accepted_at_ms, _, body = records.read_record(record)
    return with_states(queue, [Waiting(sequence, accepted_at_ms, body)])[0]


def is_remembered(queue: Queue, message_id: str) -> bool:
    """Return whether an event with this message id was accepted within the de-duplication window."""
    known = records.fingerprint(message_id)
    bucket, fingerprint = known[: keys.BUCKET_BYTES], known[keys.BUCKET_BYTES :]
    generation = redis_ms(queue.client) // generation_ms(queue.dedupe_s)
    with queue.client.pipeline(transaction=False) as pipeline:
        for back in range(keys.GENERATIONS + 1):
            pipeline.hget(keys.SEEN.of(queue.name, generation - back), bucket)
        found = pipeline.execute()
    size = keys.FINGERPRINT_BYTES
    return any(fingerprint == seen[at : at + size] for seen in found if seen for at in range(0, len(seen), size))
