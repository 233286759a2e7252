"""Changing the values that a queue stores, without losing what is remembered for a length of time.

Message ids, joins, merges and deletions are remembered in generations, whose length is one of these values and whose
number is part of the key. With another length no process would find them. So their fields are moved to the newest
generation of the new length, a page at a time. An interrupted change is finished by the next one; until then no process
can open the queue.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple, cast

from lanes import keys
from lanes.append import generation_ms
from lanes.claims import reap
from lanes.clock import redis_ms
from lanes.config import QueueError, compare_queue, open_queue, stored_config
from lanes.keys import Key, escaped
from lanes.queue import Queue, QueueConfig
from lanes.scripts import run

_PAGE = 500  # fields of a hash, in one call
# Times are read from these by the old cooldown. They are not moved, since they expire soon.
_COOLING = (keys.FINISHED_AT, keys.COOLING_UNTIL, keys.RECENT_ATTRIBUTES)
_BEGAN_AT = "began_at_ms"


class QueueInUse(QueueError):
    """The values of the queue cannot be changed now; the text says why and what to wait for. Nothing was written."""


class _Generations(NamedTuple):
    """The generations of one key with one length."""

    key: Key
    length_ms: int
    kept_ms: int  # for how long each of them is kept

    def number(self, now_ms: int) -> int:
        """Return the number of the current one."""
        return now_ms // max(self.length_ms, 1)


def reconfigure(queue: Queue) -> dict[str, tuple[int, int]]:
    """Store the values of this process beside the queue; return what changed: name → (before, now).

    What is remembered by the old values stays. Fields are moved in steps of some milliseconds each. They are kept for
    as long as the new values say from now on. A cooldown of a waiting event that exceeds the new one becomes the new
    one. A queue that was never opened gets the values.

    All processes of the queue must be stopped. Raises QueueInUse while a claim is open or a worker sends heartbeats;
    when the cooldown changes, also until the old cooldowns are over. Ingest cannot be seen from Redis. Raises
    OtherLayout.
    """
    before = stored_config(queue.client, queue.name)
    _finish_interrupted(queue)
    stored = stored_config(queue.client, queue.name)
    if before is None or stored is None:
        open_queue(queue)
        return {}
    _check_layout(queue, stored)
    if stored != queue.config:
        _check_unused(queue, stored, queue.config)
        _begin(queue)
        _finish_interrupted(queue)
    own = asdict(queue.config)
    return {name: (value, own[name]) for name, value in asdict(before).items() if value != own[name]}


def _check_layout(queue: Queue, stored: QueueConfig) -> None:
    compare_queue(Queue(client=queue.client, name=queue.name, **asdict(stored)))


def _check_unused(queue: Queue, stored: QueueConfig, wanted: QueueConfig) -> None:
    """Raise QueueInUse when a process uses the queue, or when times are remembered that cannot be moved."""
    while reap(queue).events:
        pass  # of workers that were killed; their leases have ended
    claims = int(queue.client.zcard(keys.CLAIMS.of(queue.name)))
    if claims:
        stop = "stop ingest and every worker, and wait until the leases end"
        raise QueueInUse(f"queue {queue.name}: {claims:,} claims are open; {stop}")
    workers = int(queue.client.zcount(keys.WORKERS.name, redis_ms(queue.client) / 1000 - keys.HEARTBEAT_S, "+inf"))
    if workers:
        raise QueueInUse(f"queue {queue.name}: {workers:,} workers are running; stop ingest and every worker")
    if stored.cooldown_ms != wanted.cooldown_ms:
        left_ms = max((int(queue.client.pttl(name)) for key in _COOLING for name in _names(queue, key)), default=0)
        if left_ms > 0:
            left_s = -(-left_ms // 1000)
            raise QueueInUse(
                f"queue {queue.name}: the old cooldowns are remembered for {left_s:,} s more; wait for that"
            )


def _begin(queue: Queue) -> None:
    """Store what is about to be done: from now on no process opens the queue."""
    target = {**asdict(queue.config), _BEGAN_AT: redis_ms(queue.client)}
    queue.client.hset(keys.REGROUPING.of(queue.name), mapping=cast(dict[Any, Any], target))
    if queue.client.zcard(keys.CLAIMS.of(queue.name)):  # a worker claimed between the check and this
        queue.client.delete(keys.REGROUPING.of(queue.name))
        raise QueueInUse(f"queue {queue.name}: a worker has just claimed events; stop ingest and every worker")


def _finish_interrupted(queue: Queue) -> None:
    """Do what `_begin` stored, or the rest of it. Idempotent."""
    target = cast(dict[bytes, bytes], queue.client.hgetall(keys.REGROUPING.of(queue.name)))
    stored = stored_config(queue.client, queue.name)
    if not target or stored is None:
        return
    values = {name.decode(): int(value) for name, value in target.items()}
    began_at_ms = values.pop(_BEGAN_AT)
    wanted = QueueConfig(**values)
    for old, new in zip(_generations(stored), _generations(wanted), strict=True):
        if old.length_ms != new.length_ms:
            _move(queue, new, began_at_ms)
    _limit_cooldowns(queue, wanted.cooldown_ms)
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.hset(keys.CONFIG.of(queue.name), mapping=cast(dict[Any, Any], values))
        pipeline.delete(keys.REGROUPING.of(queue.name))
        pipeline.execute()


def _generations(config: QueueConfig) -> Sequence[_Generations]:
    """Return what is remembered by these values, always in the same order."""
    seen_ms, joined_ms = generation_ms(config.dedupe_s), config.join_s * 1000
    identities_ms = max(joined_ms, 1000)  # see remember_identities.lua
    return (
        _Generations(keys.SEEN, seen_ms, (keys.GENERATIONS + 2) * seen_ms),
        _Generations(keys.JOIN, joined_ms, 2 * joined_ms),
        _Generations(keys.JOINED, joined_ms, 2 * joined_ms),
        _Generations(keys.MERGED, identities_ms, 2 * identities_ms),
        _Generations(keys.DELETED, identities_ms, 2 * identities_ms),
    )


def _move(queue: Queue, new: _Generations, began_at_ms: int) -> None:
    """Move all fields to the generation that was current when the change began.

    Numbers of two lengths cannot be compared by time, but the target may be one of the old generations. Later ones than
    that are moved in ascending order and their values are kept, earlier ones in descending order and theirs are not. So
    the newest value of each field is kept, also when this was interrupted.
    """
    number = new.number(began_at_ms)
    target = new.key.of(queue.name, number)
    others = sorted(other for other in _numbers(queue, new.key) if other != number)
    later, earlier = [other for other in others if other > number], [other for other in others if other < number]
    for other in (*later, *reversed(earlier)):
        source = new.key.of(queue.name, other)
        which = "both" if new.key is keys.SEEN else "newer" if other > number else "older"
        for fields in _pages(queue, source):
            run(queue, "regroup", (source, target, new.kept_ms, which, *fields))
    queue.client.pexpire(target, new.kept_ms)


def _numbers(queue: Queue, key: Key) -> Iterator[int]:
    for name in _names(queue, key):
        yield int(name.rpartition(":")[2])


def _names(queue: Queue, key: Key) -> list[str]:
    """Return the keys of this family in this queue."""
    pattern = f"{escaped(queue.base + key.prefix)}*"
    found = {cast(bytes, name).decode() for name in queue.client.scan_iter(match=pattern, count=_PAGE)}
    return sorted(name for name in found if key.matches(name))


def _pages(queue: Queue, name: str) -> Iterator[list[bytes]]:
    """Yield the fields of a hash from which each page is removed before the next one is read."""
    while True:
        cursor, fields = cast(tuple[int, dict[bytes, bytes]], queue.client.hscan(name, count=_PAGE))
        while not fields and cursor:
            cursor, fields = cast(tuple[int, dict[bytes, bytes]], queue.client.hscan(name, cursor, count=_PAGE))
        if not fields:
            return
        yield list(fields)


def _limit_cooldowns(queue: Queue, cooldown_ms: int) -> None:
    """Let no waiting event have a longer cooldown than the queue."""
    name = keys.COOLDOWN.of(queue.name)
    stored = dict(queue.client.hscan_iter(name, count=_PAGE))
    longer = {event: own.partition(b" ") for event, own in stored.items() if int(own.partition(b" ")[0]) > cooldown_ms}
    names = list(longer)
    for first in range(0, len(names), _PAGE):
        some = names[first : first + _PAGE]
        if cooldown_ms:
            shorter = {event: b"%d%b%b" % (cooldown_ms, *longer[event][1:]) for event in some}
            queue.client.hset(name, mapping=cast(dict[Any, Any], shorter))
        else:
            queue.client.hdel(name, *some)
