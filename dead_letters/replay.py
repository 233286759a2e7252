"""Replays: dead letters are requeued, in the order in which their events were accepted, a page at a time.

A replay is a record in Redis: its filter and its progress. Any worker continues it, so it survives the end of a worker,
of a terminal and of Redis. One step of Redis removes dead letters, appends their events and advances the record.
Repeating a step therefore replays nothing twice. The record is the audit record as well.

A destination runs one replay at a time, the oldest first. A dry run makes the same steps, and counts what would be sent
instead of requeuing it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, cast
from uuid import uuid4

from redis.client import Pipeline

import lanes
import mapping
from dead_letters import dry_run, query, record
from dead_letters.query import Filter
from dead_letters.record import DeadLetter
from lanes import Queue, fates, keys
from lanes.clock import redis_ms
from logs import events as log

PAGE = 50
# Live events go first: a replay waits while more than this many events are ready.
MOST_READY = 50
# The records of this many replays are kept.
KEPT = 200
_BUSY_S = 0.05

State = Literal["running", "done", "cancelled"]
# mapped: events are mapped with the present configuration. as_recorded: the requests of the dead letter are sent.
Mode = Literal["mapped", "as_recorded", "dry_run"]


@dataclass(frozen=True, slots=True)
class ReplayContext:
    """The functions of the worker that a replay needs."""

    wait: Callable[[float], Any]  # seconds
    wake: Callable[[str], object]  # requests a deliverer for the destination


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay and its progress. Times are Unix milliseconds of Redis' clock."""

    id: str
    wanted: Filter
    mode: Mode
    who: str  # the operator
    started_at_ms: int
    per_s: int  # the most dead letters per second
    total: int  # dead letters that matched when the replay began
    last_sequence: int  # of the last dead letter that matched then
    cursor: int = 0  # the last sequence that was read
    processed: int = 0  # matching dead letters that were read
    missing: int = 0  # of these, dead letters that another operator took at that moment
    # Of these, dead letters that stay: not all of their requests are recorded, or they are damaged, or their person is
    # suppressed.
    skipped: int = 0
    ended_at_ms: int = 0
    state: State = "running"
    figures: dict[str, int] = field(default_factory=dict)  # of a dry run, see `dry_run.figures`

    @property
    def done(self) -> int:
        """Dead letters that were requeued; of a dry run, those that were processed."""
        return self.processed - self.missing - self.skipped


# Annotations are texts here.
_NUMBERS = frozenset(member.name for member in fields(Replay) if member.type == "int")


def begin(queue: Queue, wanted: Filter, *, who: str, per_s: int, mode: Mode = "mapped") -> Replay:
    """Record a new replay, which the next sweep of a worker starts. A running replay with this filter and mode is
    joined instead, and continues at this rate."""
    for replay_id in running(queue):
        joined = read(queue, replay_id)
        if joined is not None and (joined.wanted, joined.mode) == (wanted, mode):
            queue.client.hset(_key(queue, replay_id), "per_s", per_s)
            return replace(joined, per_s=per_s)
    total, last_sequence = _extent(queue, wanted)
    begun = Replay(
        id=uuid4().hex[:12],
        wanted=wanted,
        mode=mode,
        who=who,
        started_at_ms=redis_ms(queue.client),
        per_s=per_s,
        total=total,
        last_sequence=last_sequence,
    )
    if not total:
        begun = replace(begun, state="done", ended_at_ms=begun.started_at_ms)
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.hset(_key(queue, begun.id), mapping=_fields(begun))
        pipeline.zadd(keys.REPLAYS.of(queue.name), {begun.id: begun.started_at_ms})
        pipeline.execute()
    _delete_old(queue)
    return begun


def read(queue: Queue, replay_id: str) -> Replay | None:
    """Return the replay, None when there is none with this id."""
    stored = cast(dict[bytes, bytes], queue.client.hgetall(_key(queue, replay_id)))
    texts = {name.decode(): value.decode() for name, value in stored.items()}
    if not texts:
        return None
    figures = cast(dict[bytes, bytes], queue.client.hgetall(keys.DRY_RUN.of(queue.name, replay_id)))
    members: dict[str, Any] = {name: int(text) if name in _NUMBERS else text for name, text in texts.items()}
    members |= {"id": replay_id, "wanted": Filter.model_validate_json(texts["wanted"])}
    return Replay(**members, figures={name.decode(): int(count) for name, count in figures.items()})


def history(queue: Queue) -> list[Replay]:
    """Return the last replays, the newest first."""
    ids = _names(queue.client.zrevrange(keys.REPLAYS.of(queue.name), 0, -1))
    return [found for replay_id in ids if (found := read(queue, replay_id)) is not None]


def running(queue: Queue) -> list[str]:
    """Return the ids of the replays that have not ended, the oldest first."""
    ids = _names(queue.client.zrange(keys.REPLAYS.of(queue.name), 0, -1))
    with queue.client.pipeline(transaction=False) as pipeline:
        for replay_id in ids:
            pipeline.hget(_key(queue, replay_id), "state")
        states = pipeline.execute()
    return [replay_id for replay_id, state in zip(ids, states, strict=True) if state == b"running"]


def cancel(queue: Queue, replay_id: str) -> None:
    """End the replay if it is running. What it has not requeued stays a dead letter."""
    if replay_id in running(queue):
        _end(queue, replay_id, "cancelled")


def next_up(queue: Queue) -> list[str]:
    """Return the ids of the replays that workers continue now: the oldest replay, and all dry runs."""
    found = [replay for replay_id in running(queue) if (replay := read(queue, replay_id)) is not None]
    replays = [replay.id for replay in found if replay.mode != "dry_run"]
    return replays[:1] + [replay.id for replay in found if replay.mode == "dry_run"]


def lock(queue: Queue, replay_id: str) -> str:
    """Return the name of the lock that a worker holds while it continues the replay: one for all replays, and one for
    each dry run."""
    is_dry_run = queue.client.hget(_key(queue, replay_id), "mode") == b"dry_run"
    return keys.DRY_RUN_LOCK.of(queue.name, replay_id) if is_dry_run else keys.REPLAY_LOCK.of(queue.name)


def step(queue: Queue, replay_id: str, destination: mapping.Destination, context: ReplayContext) -> bool:
    """Process one page, at the rate of the replay, unless live events are ready. Return whether there is more."""
    began_at = time.monotonic()
    replay = read(queue, replay_id)
    if replay is None or replay.state != "running":
        return False
    stats = lanes.stats(queue)
    is_full = stats.waiting + PAGE > queue.limit
    if stats.ready > MOST_READY or (is_full and not _requeue_blocking(queue, replay, destination, context)):
        context.wait(_BUSY_S)
        return True
    if is_full:
        return True
    most, as_of = min(PAGE, replay.per_s), lanes.dead_letter_changes(queue)
    page, last_read = query.page(queue, replay.wanted, after=replay.cursor, most=most)
    page = [dead_letter for dead_letter in page if dead_letter.sequence <= replay.last_sequence]
    if page and replay.mode == "dry_run":
        _count(queue, replay, page, destination)
    elif page:
        chosen = _chosen(queue, replay, page, destination)
        skipped = replay.skipped + len(page) - len(chosen)
        progress = {"cursor": page[-1].sequence, "processed": replay.processed + len(page), "skipped": skipped}
        try:
            _requeue(queue, replay, chosen, progress, context, as_of)
        except lanes.DeadLettersChanged:
            return True
    if last_read is None or last_read >= replay.last_sequence:
        _end(queue, replay_id, "done")
        return False
    queue.client.hset(_key(queue, replay_id), "cursor", last_read)
    context.wait(max(0.0, len(page) / replay.per_s - (time.monotonic() - began_at)))
    return True


def _requeue_blocking(queue: Queue, replay: Replay, destination: mapping.Destination, context: ReplayContext) -> bool:
    """Requeue the next dead letters of a replay that block, and return whether there are any.

    They keep their position, so a full queue has room for them, and what fills it may be the events that they block.
    """
    if replay.mode == "dry_run":
        return False
    as_of = lanes.dead_letter_changes(queue)
    ahead = [at for at in lanes.blocking_dead_letters(queue) if replay.cursor < at <= replay.last_sequence]
    most = min(PAGE, replay.per_s)
    for first in range(0, len(ahead), most):
        found = map(record.read, lanes.get_dead_letters(queue, ahead[first : first + most]))
        page = [dead_letter for dead_letter in found if dead_letter.blocks and replay.wanted.matches(dead_letter)]
        if chosen := _chosen(queue, replay, page, destination):
            progress = {"cursor": replay.cursor, "processed": replay.processed + len(chosen), "skipped": replay.skipped}
            with suppress(lanes.DeadLettersChanged):
                _requeue(queue, replay, chosen, progress, context, as_of)
            context.wait(len(chosen) / replay.per_s)
            return True
    return False


def _chosen(
    queue: Queue, replay: Replay, page: Sequence[DeadLetter], destination: mapping.Destination
) -> list[lanes.DeadLetter | lanes.NewEvent]:
    """Return the dead letters that can be requeued, as they are requeued."""
    suppressed = dry_run.keys_suppressed(queue, page)
    sendable = [found for found in page if suppressed.isdisjoint(found.stored.keys)]
    return [event for found in sendable if (event := _requeued(found, replay, destination, queue)) is not None]


def _requeue(
    queue: Queue,
    replay: Replay,
    chosen: Sequence[lanes.DeadLetter | lanes.NewEvent],
    progress: Mapping[str, int],
    context: ReplayContext,
    as_of: int,
) -> None:
    """Requeue dead letters, and write the progress of the replay. Those that block keep their position; the others are
    appended, with the ordering keys of the present configuration. Raises DeadLettersChanged, and does nothing, when one
    was edited after `as_of`."""
    requeued = lanes.requeue(
        queue,
        blocking=[event for event in chosen if isinstance(event, lanes.DeadLetter)],
        appended=[event for event in chosen if isinstance(event, lanes.NewEvent)],
        as_of=as_of,
        record=(_key(queue, replay.id), progress),
    )
    if requeued.count < len(chosen):
        queue.client.hincrby(_key(queue, replay.id), "missing", len(chosen) - requeued.count)
    if requeued.wake:
        context.wake(queue.name)


def _count(queue: Queue, replay: Replay, page: list[DeadLetter], destination: mapping.Destination) -> None:
    """Add a page to the figures of a dry run."""
    results = dry_run.run(queue, page, destination, time.time())
    figures = dry_run.bounded(dry_run.figures(results), replay.figures)
    people = {lanes.digest(person) for each in results for person in each.people}
    progress: dict[Any, Any] = {"cursor": page[-1].sequence, "processed": replay.processed + len(page)}

    def add(pipeline: Pipeline) -> None:
        state, cursor = cast(list[Any], pipeline.hmget(_key(queue, replay.id), "state", "cursor"))
        pipeline.multi()
        if state != b"running" or int(cursor) >= page[-1].sequence:
            return  # it was cancelled meanwhile, or this was done and its reply was lost
        for name, count in figures.items():
            pipeline.hincrby(keys.DRY_RUN.of(queue.name, replay.id), name, count)
        if people:
            pipeline.sadd(keys.DRY_RUN_PEOPLE.of(queue.name, replay.id), *people)
        pipeline.hset(_key(queue, replay.id), mapping=progress)

    queue.client.transaction(add, _key(queue, replay.id))


def _requeued(
    dead_letter: DeadLetter, replay: Replay, destination: mapping.Destination, queue: Queue
) -> lanes.DeadLetter | lanes.NewEvent | None:
    """Return the dead letter as it is requeued; None when it stays: not all of its requests are recorded, or it cannot
    be requeued."""
    as_recorded = replay.mode == "as_recorded"
    if dead_letter.is_damaged or (as_recorded and dead_letter.requests is None):
        return None
    try:
        body = dead_letter.requeued_body(as_recorded=as_recorded)
        if dead_letter.blocks:
            return replace(dead_letter.stored, body=body)
        event = _new_event(dead_letter, body, destination, queue.cooldown_ms)
        return event._replace(run="") if as_recorded else event  # recorded requests may differ from what is mapped now
    except Exception as error:
        log.unhandled("the replay of a dead letter", error, destination=queue.name, sequence=dead_letter.sequence)
        return None


def _new_event(
    dead_letter: DeadLetter, body: bytes, destination: mapping.Destination, cooldown_ms: int
) -> lanes.NewEvent:
    info = mapping.ordering_info(dead_letter.event, destination)
    return lanes.NewEvent(
        body=body,
        keys=info.keys,
        message_id=str(dead_letter.event.get("messageId")),
        cooldown_ms=cooldown_ms if info.needs_cooldown else 0,
        join=info.join,
        replaces=dead_letter.sequence,
        run=info.run,
        counted_as=fates.name("accepted", dead_letter.source, "replay"),
    )


def _extent(queue: Queue, wanted: Filter) -> tuple[int, int]:
    """Return how many dead letters match, and the sequence of the last one."""
    if wanted == Filter():
        return lanes.count_dead_letters(queue)
    total = last_sequence = 0
    for dead_letter in query.matching(queue, wanted):
        total, last_sequence = total + 1, dead_letter.sequence
    return total, last_sequence


def _end(queue: Queue, replay_id: str, state: State) -> None:
    """End a replay or a dry run. Of the people of a dry run their number stays."""
    people = keys.DRY_RUN_PEOPLE.of(queue.name, replay_id)
    count = queue.client.scard(people)
    ended: dict[Any, Any] = {"state": state, "ended_at_ms": redis_ms(queue.client)}
    with queue.client.pipeline(transaction=True) as pipeline:
        if count:
            pipeline.hset(keys.DRY_RUN.of(queue.name, replay_id), "people", str(count))
            pipeline.delete(people)
        pipeline.hset(_key(queue, replay_id), mapping=ended)
        pipeline.execute()


def _fields(replay: Replay) -> dict[Any, Any]:
    members = asdict(replay)
    del members["id"], members["figures"]
    return members | {"wanted": replay.wanted.model_dump_json(exclude_defaults=True)}


def _delete_old(queue: Queue) -> None:
    """Delete the records of all but the last replays."""
    for replay_id in _names(queue.client.zrange(keys.REPLAYS.of(queue.name), 0, -KEPT - 1)):
        of_dry_run = (key.of(queue.name, replay_id) for key in (keys.DRY_RUN, keys.DRY_RUN_PEOPLE))
        queue.client.delete(_key(queue, replay_id), *of_dry_run)
        queue.client.zrem(keys.REPLAYS.of(queue.name), replay_id)


def _names(found: Any) -> list[str]:
    return [name.decode() for name in found]


def _key(queue: Queue, replay_id: str) -> str:
    return keys.REPLAY.of(queue.name, replay_id)
