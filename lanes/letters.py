"""Dead letters: events that were set aside, in the order in which they were accepted.

A letter that holds keeps its place in its lanes, and what is behind it waits: it is resumed or skipped. The others have
left their lanes: they are appended anew (`NewEvent.replaces`), behind what is live by then. Either way a letter is
used up once, whoever tries and however often.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import redis

from lanes import keys
from lanes.scripts import run
from lanes.work import Release, settle

_HELD = "held"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was set aside, with the reason that its caller gave."""

    sequence: int  # its place in the order of acceptance
    accepted_at_ms: int
    keys: tuple[bytes, ...]  # digests of its ordering keys
    body: bytes
    letter: bytes
    holds: bool


def letters(client: redis.Redis, queue: str, *, after: int = 0, most: int = 500) -> list[DeadLetter]:
    """Return the dead letters behind the sequence `after`, in their order, `most` at a time."""
    found = client.zrangebyscore(f"{keys.base(queue)}:grave", f"({after}", "+inf", start=0, num=most)
    return _read(client, queue, [int(name) for name in cast(list[bytes], found)])


def letter(client: redis.Redis, queue: str, sequence: int) -> DeadLetter | None:
    """Return one dead letter, None when there is none of this sequence."""
    return next(iter(_read(client, queue, [sequence])), None)


def each_letter(client: redis.Redis, queue: str, *, after: int = 0, page: int = 500) -> Iterator[DeadLetter]:
    """Yield all dead letters in their order; those that come meanwhile may or may not be among them."""
    while found := letters(client, queue, after=after, most=page):
        yield from found
        after = found[-1].sequence


def resume(client: redis.Redis, queue: str, sequences: Collection[int]) -> tuple[int, ...]:
    """Let letters that hold be tried again in their place; return those for which that was done."""
    released = [Release(sequence, 0, counts=False) for sequence in sequences]
    lost = settle(client, queue, _HELD, released=released).lost
    resumed = tuple(sequence for sequence in sequences if sequence not in lost)
    _forget(client, queue, sequences, resumed, "buried")
    return resumed


def discard(
    client: redis.Redis, queue: str, sequences: Collection[int], *, longest_hold_ms: int = 0
) -> tuple[int, ...]:
    """Remove letters for good; what is behind those that hold goes on. Return those that were there."""
    there = _read(client, queue, sequences)
    held = [one.sequence for one in there if one.holds]
    lost = settle(client, queue, _HELD, delivered=held, longest_hold_ms=longest_hold_ms).lost if held else ()
    _forget(client, queue, sequences, [sequence for sequence in held if sequence not in lost], "delivered")
    return tuple(one.sequence for one in there)


def bury(client: redis.Redis, queue: str, events: Sequence[tuple[bytes, Sequence[str], bytes]]) -> int:
    """Add dead letters from elsewhere, each a body, its ordering keys and a letter: all of them or none; return how
    many."""
    if not events:
        return 0
    base = keys.base(queue)
    last = int(client.incrby(f"{base}:seq", len(events)))
    seconds, microseconds = client.time()
    now_ms = seconds * 1000 + microseconds // 1000
    with client.pipeline(transaction=True) as pipeline:
        for sequence, (body, ordering_keys, letter) in enumerate(events, start=last - len(events) + 1):
            pipeline.hset(f"{base}:dead", str(sequence), keys.record(now_ms, ordering_keys, body))
            pipeline.hset(f"{base}:letter", str(sequence), letter)
            pipeline.zadd(f"{base}:grave", {str(sequence): sequence})
        pipeline.execute()
    return len(events)


def mend(client: redis.Redis, queue: str, sequence: int, body: bytes, letter: bytes) -> bool:
    """Replace the event of a dead letter, and its reason; return whether there was such a letter."""
    return bool(run(client, "mend", queue, (sequence, body, letter)))


def _read(client: redis.Redis, queue: str, sequences: Sequence[int] | Collection[int]) -> list[DeadLetter]:
    if not sequences:
        return []
    base, names = keys.base(queue), list(map(str, sequences))
    records = cast(list[bytes | None], client.hmget(f"{base}:dead", names))
    reasons = cast(list[bytes | None], client.hmget(f"{base}:letter", names))
    held = client.smismember(f"{base}:claim:{_HELD}", names)
    return [
        DeadLetter(sequence, *keys.read_record(record), reason, bool(holds))
        for sequence, record, reason, holds in zip(sequences, records, reasons, held, strict=True)
        if record is not None and reason is not None
    ]


def _forget(
    client: redis.Redis, queue: str, sequences: Collection[int], no_longer_held: Collection[int], counted_as: str
) -> None:
    """Remove the letters; the figure `counted_as` counted those that held, and they are not that."""
    if not sequences:
        return
    base, names = keys.base(queue), list(map(str, sequences))
    with client.pipeline(transaction=True) as pipeline:
        pipeline.hdel(f"{base}:dead", *names)
        pipeline.hdel(f"{base}:letter", *names)
        pipeline.zrem(f"{base}:grave", *names)
        if no_longer_held:
            pipeline.hdel(f"{base}:attempts", *map(str, no_longer_held))
            pipeline.hdel(f"{base}:deaths", *map(str, no_longer_held))
            pipeline.hincrby(f"{base}:total", counted_as, -len(no_longer_held))
        pipeline.execute()
