"""Replays: dead letters put back on the queue, in the order in which their events were accepted, a page at a time.

A replay is a record in Redis: what it wants, how far it is. It is carried on by whichever worker has it, and survives
workers, terminals and Redis: a letter is removed in the very step that puts its event back, so whatever is done twice
is done once. It is the audit record as well: who, when, which letters, how many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, cast
from uuid import uuid4

import redis

import lanes
import mapping
from lanes.keys import base
from workers import graveyard
from workers.graveyard import Filter, Grave

PAGE = 100
# Live events go first: while more than this many are ready, a replay waits.
MOST_READY = 500
KEPT = 200
_BUSY_S = 0.2
_LOCK_MS = 15_000
_DAY_S = 86_400

State = Literal["running", "done", "cancelled"]


@dataclass(frozen=True, slots=True)
class Memory:
    """What appending has to know, see `lanes.append`."""

    limit: int
    dedupe_s: int
    longest_hold_ms: int


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay and how far it is."""

    id: str
    wanted: Filter
    who: str
    started_at_ms: int  # Redis' clock
    per_s: int  # the most letters per second
    total: int  # letters that the filter wanted when it began
    upto: int  # the last sequence there was then: what is buried later is not part of it
    cursor: int  # the last sequence that was looked at
    done: int  # letters put back
    state: State


def begin(client: redis.Redis, queue: str, wanted: Filter, *, who: str, per_s: int) -> Replay:
    """Write down a new replay; the next sweep of any worker starts it."""
    total = upto = 0
    for grave in graveyard.matching(client, queue, wanted):
        total, upto = total + 1, grave.sequence
    seconds, microseconds = client.time()
    begun = Replay(
        id=uuid4().hex[:12],
        wanted=wanted,
        who=who,
        started_at_ms=seconds * 1000 + microseconds // 1000,
        per_s=per_s,
        total=total,
        upto=upto,
        cursor=0,
        done=0,
        state="running" if total else "done",
    )
    with client.pipeline(transaction=True) as pipeline:
        pipeline.hset(_key(queue, begun.id), mapping=_fields(begun))
        pipeline.zadd(f"{base(queue)}:replays", {begun.id: begun.started_at_ms})
        pipeline.execute()
    _forget_old(client, queue)
    return begun


def read(client: redis.Redis, queue: str, replay_id: str) -> Replay | None:
    """Return the replay, None when there is none of this id."""
    stored = cast(dict[bytes, bytes], client.hgetall(_key(queue, replay_id)))
    fields = {name.decode(): value.decode() for name, value in stored.items()}
    if not fields:
        return None
    numbers = ("started_at_ms", "per_s", "total", "upto", "cursor", "done")
    told: dict[str, Any] = {name: int(value) if name in numbers else value for name, value in fields.items()}
    return Replay(**told | {"id": replay_id, "wanted": Filter.model_validate_json(told["wanted"])})


def history(client: redis.Redis, queue: str) -> list[Replay]:
    """Return the replays that are remembered, the newest first."""
    ids = _names(client.zrevrange(f"{base(queue)}:replays", 0, -1))
    return [found for replay_id in ids if (found := read(client, queue, replay_id)) is not None]


def waiting(client: redis.Redis, queue: str) -> list[str]:
    """Return the ids of replays that are not at their end."""
    ids = _names(client.zrange(f"{base(queue)}:replays", 0, -1))
    return [replay_id for replay_id in ids if client.hget(_key(queue, replay_id), "state") == b"running"]


def cancel(client: redis.Redis, queue: str, replay_id: str) -> None:
    """Stop the replay; what is not put back yet stays a dead letter."""
    if client.exists(_key(queue, replay_id)):
        client.hset(_key(queue, replay_id), "state", "cancelled")


@contextmanager
def alone(client: redis.Redis, queue: str, replay_id: str) -> Iterator[bool]:
    """Yield whether this replay is ours; two at once would do no harm, but twice the rate."""
    lock = f"{_key(queue, replay_id)}:lock"
    is_mine = bool(client.set(lock, "1", nx=True, px=_LOCK_MS))
    try:
        yield is_mine
    finally:
        if is_mine:
            client.delete(lock)


def step(
    client: redis.Redis,
    queue: str,
    replay_id: str,
    destination: mapping.Destination,
    memory: Memory,
    wait: Callable[[float], Any],
) -> bool:
    """Put one page of letters back, at the replay's rate and after what is live; return whether there is more."""
    replay = read(client, queue, replay_id)
    if replay is None or replay.state != "running":
        return False
    client.pexpire(f"{_key(queue, replay_id)}:lock", _LOCK_MS)
    if lanes.stats(client, queue).ready > MOST_READY:
        wait(_BUSY_S)
        return True
    found = graveyard.matching(client, queue, replay.wanted, after=replay.cursor)
    page = [grave for grave in islice(found, min(PAGE, replay.per_s)) if grave.sequence <= replay.upto]
    if not page:
        client.hset(_key(queue, replay_id), "state", "done")
        return False
    try:
        done = put_back(client, queue, page, destination, memory)
    except lanes.QueueFull:
        wait(_BUSY_S)
        return True
    client.hset(_key(queue, replay_id), "cursor", page[-1].sequence)
    client.hincrby(_key(queue, replay_id), "done", done)
    wait(len(page) / replay.per_s)
    return True


def put_back(
    client: redis.Redis, queue: str, graves: list[Grave], destination: mapping.Destination, memory: Memory
) -> int:
    """Put letters back on the queue and return how many of them were still there.

    Those that hold go on in their place; the others go behind what is live, placed by the present configuration.
    """
    held = [grave.sequence for grave in graves if grave.letter.holds]
    resumed = lanes.resume(client, queue, held) if held else ()
    anew = [_new_event(grave, destination, memory) for grave in graves if not grave.letter.holds]
    if not anew:
        return len(resumed)
    appended = lanes.append(
        client,
        queue,
        anew,
        limit=memory.limit,
        dedupe_s=memory.dedupe_s,
        longest_hold_ms=memory.longest_hold_ms,
        join_s=destination.delivery.remember_days * _DAY_S,
    )
    return len(resumed) + sum(appended.accepted)


def _new_event(grave: Grave, destination: mapping.Destination, memory: Memory) -> lanes.NewEvent:
    place = mapping.placement(grave.event, destination)
    return lanes.NewEvent(
        body=grave.letter.body,
        keys=place.keys,
        message_id=str(grave.event.get("messageId")),
        hold_ms=memory.longest_hold_ms if place.apart else 0,
        join=place.join,
        replaces=grave.sequence,
    )


def _fields(replay: Replay) -> dict[Any, Any]:
    return {
        "wanted": replay.wanted.model_dump_json(exclude_defaults=True),
        "who": replay.who,
        "started_at_ms": replay.started_at_ms,
        "per_s": replay.per_s,
        "total": replay.total,
        "upto": replay.upto,
        "cursor": replay.cursor,
        "done": replay.done,
        "state": replay.state,
    }


def _forget_old(client: redis.Redis, queue: str) -> None:
    """Keep the records of the last replays only."""
    for replay_id in _names(client.zrange(f"{base(queue)}:replays", 0, -KEPT - 1)):
        client.delete(_key(queue, replay_id))
        client.zrem(f"{base(queue)}:replays", replay_id)


def _names(found: Any) -> list[str]:
    return [name.decode() for name in found]


def _key(queue: str, replay_id: str) -> str:
    return f"{base(queue)}:replay:{replay_id}"
