"""Draining: take everything out of a queue that no worker delivers, in order, and move it to another one or discard it.

A page of events is a claim: due or not, with the chains behind it, by depth. It is appended to the target in its order,
and the same transaction stores there that it was. Then it is settled. A drain that is interrupted between the two is
continued by the next one, which settles that claim first. So an event is neither lost nor moved twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

from redis.exceptions import LockError, ResponseError
from redis.lock import Lock

from lanes import dead_letters, keys, records
from lanes.append import NewEvent, append_arguments, appended
from lanes.claims import Claim, ClaimedEvent, claim, reap, settle
from lanes.config import QueueError
from lanes.dead_letters import DeadLetter, ImportedDeadLetter
from lanes.queue import Queue
from lanes.scripts import Argument, queue_up, raise_named

# How many events a page has at most, and how far their chains are followed.
_PAGE, _BYTES, _DEPTH = 500, 2_000_000, 500
_LEASE_MS = 60_000
_BY = "segue lanes"
_LOCK_S = 30

FateOf = Callable[[bytes], str]  # the name of the fate of an event with this body, see `lanes.fates`


class QueueBusy(QueueError):
    """The queue cannot be drained now; the text says why. Nothing was changed."""


@contextmanager
def draining(queue: Queue, fate_of: FateOf, target: Queue | None = None) -> Iterator[Lock]:
    """Yield the lock with which this caller alone drains the queue. What an interrupted drain to the target has begun
    is finished before.

    Raises QueueBusy: another drain is under way, or a worker has claimed events.
    """
    lock = Lock(
        queue.client, keys.DRAIN_LOCK.of(queue.name), timeout=_LOCK_S, blocking=False, raise_on_release_error=False
    )
    try:
        with lock:
            if target is not None:
                _finish_interrupted(queue, target, fate_of)
            _end_own_claims(queue)
            yield lock
            if target is not None:
                target.client.delete(keys.DRAINED.of(target.name, queue.name))
    except LockError:
        text = f"another `segue lanes move` or `discard` is under way, or was killed less than {_LOCK_S} s ago"
        raise QueueBusy(f"queue {queue.name}: {text}") from None


def move_events(
    lock: Lock, queue: Queue, target: Queue, new_event: Callable[[ClaimedEvent], NewEvent], fate_of: FateOf
) -> tuple[int, int]:
    """Append all events of a queue to the target, whatever its limit. Return how many, and how many it had already.

    `new_event` makes the event of the target. It keeps the lanes that it has, beside those of its new keys.
    """
    moved = duplicates = 0
    for page in _pages(lock, queue):
        events = [event for event in page.events if event.body]  # others were erased
        if events:
            new, digests = [new_event(event) for event in events], [event.keys for event in events]
            arguments = append_arguments(target.without_limit(), new, digests)
            accepted = appended(target, _add(target, queue, "claim", page.id, "append", arguments)).accepted
            moved, duplicates = moved + sum(accepted), duplicates + len(accepted) - sum(accepted)
        _settle(queue, page.id, page.events, fate_of)
    return moved, duplicates


def discard_events(lock: Lock, queue: Queue, fate_of: FateOf) -> int:
    """Discard all events of a queue; return how many."""
    discarded = 0
    for page in _pages(lock, queue):
        _settle(queue, page.id, page.events, fate_of)
        discarded += len(page.events)
    return discarded


def move_dead_letters(
    lock: Lock,
    queue: Queue,
    target: Queue,
    imported: Callable[[DeadLetter], ImportedDeadLetter],
    requeued: Callable[[DeadLetter], bytes],
) -> int:
    """Add all dead letters of a queue to the target; return how many.

    Those that block become events again, with the body of `requeued`, and keep their positions.
    """
    moved = 0
    while page := dead_letters.list_dead_letters(queue, most=_PAGE):
        lock.reacquire()
        blocking = [replace(dead, body=requeued(dead)) for dead in page if dead.blocks]
        others = [dead for dead in page if not dead.blocks]
        _requeue(queue, target, blocking)
        arguments = dead_letters.import_arguments(map(imported, others))
        _add(target, queue, "dead", " ".join(str(dead.sequence) for dead in others), "import", arguments)
        dead_letters.discard(queue, [dead.sequence for dead in others], "moved")
        moved += len(others)
    return moved


def discard_dead_letters(lock: Lock, queue: Queue) -> int:
    """Discard all dead letters of a queue; return how many."""
    discarded = 0
    while page := dead_letters.list_dead_letters(queue, most=_PAGE):
        lock.reacquire()
        discarded += dead_letters.discard(queue, [dead.sequence for dead in page])
    return discarded


def _requeue(queue: Queue, target: Queue, blocking: Sequence[DeadLetter]) -> None:
    as_of, record = dead_letters.dead_letter_changes(queue), keys.DRAINED.of(queue.name, target.name)
    if blocking:
        dead_letters.requeue(queue, blocking=blocking, appended=(), as_of=as_of, record=(record, {"requeued": 1}))
        queue.client.delete(record)


def _pages(lock: Lock, queue: Queue) -> Iterator[Claim]:
    """Yield claims until the queue is empty. Each must be settled before the next one."""
    while queue.client.hlen(keys.EVENT.of(queue.name)):
        lock.reacquire()
        _make_due(queue)
        page = claim(queue, lease_ms=_LEASE_MS, max_events=_PAGE, max_bytes=_BYTES, max_depth=_DEPTH, poll_ms=0, by=_BY)
        if page.events:
            yield page
        elif not page.missing:
            raise QueueBusy(f"queue {queue.name}: its events cannot be claimed; `segue lanes verify` shows why")


def _make_due(queue: Queue) -> None:
    """Let no event of the first page wait for its backoff or cooldown."""
    ready = keys.READY.of(queue.name)
    names = cast(list[bytes], queue.client.zrange(ready, 0, 2 * _PAGE))
    if names:
        queue.client.zadd(ready, dict.fromkeys(names, 0), xx=True)


def _settle(queue: Queue, claim_id: str, events: Sequence[ClaimedEvent], fate_of: FateOf) -> None:
    fates = {event.sequence: fate_of(event.body) for event in events}
    settle(queue, claim_id, delivered=fates.keys(), counted_as=fates)


def _add(target: Queue, queue: Queue, field: str, value: str, verb: str, arguments: list[Argument]) -> Any:
    """Run the verb on the target, and store in the same transaction which page of the queue that was."""
    record = keys.DRAINED.of(target.name, queue.name)
    with target.client.pipeline(transaction=True) as pipeline:
        queue_up(pipeline, verb, target, arguments)
        pipeline.hset(record, field, value)
        try:
            return pipeline.execute()[0]
        except ResponseError as error:  # a script that fails does not undo the other command
            target.client.hdel(record, field)
            raise_named(error, verb, target.base)


def _finish_interrupted(queue: Queue, target: Queue, fate_of: FateOf) -> None:
    """Remove from the queue what the target has already."""
    stored = cast(Mapping[bytes, bytes], target.client.hgetall(keys.DRAINED.of(target.name, queue.name)))
    dead_letters.discard(queue, [int(sequence) for sequence in stored.get(b"dead", b"").split()], "moved")
    claim_id = stored.get(b"claim", b"").decode()
    names = cast(set[bytes], queue.client.smembers(keys.CLAIM.of(queue.name, claim_id))) if claim_id else set()
    if names:
        stored_records = cast(list[bytes | None], queue.client.hmget(keys.EVENT.of(queue.name), list(names)))
        fates = {
            int(name): fate_of(records.read_record(record)[2])
            for name, record in zip(names, stored_records, strict=True)
            if record is not None
        }
        settle(queue, claim_id, delivered=fates.keys(), counted_as=fates)


def _end_own_claims(queue: Queue) -> None:
    """Return the events of a drain that was interrupted, and of expired claims. Raises QueueBusy for other claims."""
    claims = keys.CLAIMS.of(queue.name)
    own = [name for name in cast(list[bytes], queue.client.zrange(claims, 0, -1)) if name.endswith(f"/{_BY}".encode())]
    if own:
        queue.client.zadd(claims, dict.fromkeys(own, 0), xx=True)
    while reap(queue).events:
        pass
    if queue.client.zcard(claims):
        text = "workers have claimed events; reload their configuration, and wait until their leases end"
        raise QueueBusy(f"queue {queue.name}: {text}")
