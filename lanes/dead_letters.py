"""Dead letters: events that were set aside, in the order in which they were accepted.

A letter that holds keeps its place in its lanes, and what is behind it waits until it goes on, is discarded or lets go.
The others have left their lanes: they are appended anew (`NewEvent.replaces`), behind what is live by then. Either way
a letter is used up once, in one step, whoever tries and however often.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis.client import Pipeline

from lanes import keys
from lanes.append import NewEvent, append_arguments
from lanes.claims import Burial, Release, settle_arguments
from lanes.scripts import Argument, queue_up, run

_HELD = "held"
# A letter that is put back does not add to what the queue keeps, so no limit is asked.
_NO_LIMIT = 2**53


class LettersChanged(Exception):
    """A letter was changed where it is, after those in hand were read; nothing was done."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was set aside, with the reason that its caller gave."""

    sequence: int  # its place in the order of acceptance
    accepted_at_ms: int
    keys: tuple[bytes, ...]  # digests of its ordering keys
    body: bytes
    letter: bytes
    holds: bool


@dataclass(frozen=True, slots=True)
class OldLetter:
    """A dead letter from elsewhere. It keeps its sequence where that is its own: nothing else has it."""

    sequence: int | None
    accepted_at_ms: int
    keys: tuple[str, ...]  # its ordering keys
    body: bytes
    letter: bytes


@dataclass(frozen=True, slots=True)
class PutBack:
    """What became of letters that were to be put back."""

    count: int  # those that were still there
    wake: bool  # the caller should ask for a deliverer


def letters(client: redis.Redis, queue: str, *, after: int = 0, most: int = 500) -> list[DeadLetter]:
    """Return the dead letters behind the sequence `after`, in their order, `most` at a time."""
    found = client.zrangebyscore(f"{keys.base(queue)}:grave", f"({after}", "+inf", start=0, num=most)
    return named_letters(client, queue, [int(name) for name in cast(list[bytes], found)])


def named_letters(client: redis.Redis, queue: str, sequences: Sequence[int]) -> list[DeadLetter]:
    """Return those of these dead letters that there are."""
    if not sequences:
        return []
    base, names = keys.base(queue), list(map(str, sequences))
    with client.pipeline(transaction=True) as pipeline:
        pipeline.hmget(f"{base}:dead", names)
        pipeline.hmget(f"{base}:letter", names)
        pipeline.smismember(f"{base}:claim:{_HELD}", names)
        records, reasons, held = pipeline.execute()
    return [
        DeadLetter(sequence, *keys.read_record(record), reason, bool(holds))
        for sequence, record, reason, holds in zip(sequences, records, reasons, held, strict=True)
        if record is not None and reason is not None
    ]


def count_letters(client: redis.Redis, queue: str) -> tuple[int, int]:
    """Return how many dead letters there are, and the sequence of the last one."""
    grave = f"{keys.base(queue)}:grave"
    last = cast(list[bytes], client.zrange(grave, -1, -1))
    return int(client.zcard(grave)), int(last[0]) if last else 0


def changes(client: redis.Redis, queue: str) -> int:
    """Return how often a dead letter was changed where it is: mended, or let go of."""
    return int(cast(bytes | None, client.get(f"{keys.base(queue)}:grave:changes")) or 0)


def put_back(
    client: redis.Redis,
    queue: str,
    *,
    held: Collection[DeadLetter],
    anew: Sequence[NewEvent],
    as_of: int,
    longest_hold_ms: int,
    join_s: int,
    note: tuple[str, Mapping[str, int]],
) -> PutBack:
    """Put letters back, all in one step: the `held` go on in their place, with the bodies that they have here; `anew`
    are appended in the place of the letters that they replace. In the same step the `note`, a hash and its fields, is
    kept. Raises LettersChanged when `changes` are not those `as_of` which the letters were read.
    """
    records = {one.sequence: keys.record(one.accepted_at_ms, one.keys, one.body) for one in held}

    def put(pipeline: Pipeline, holding: set[int], base: str) -> None:
        going_on = [Release(sequence, 0) for sequence in holding]
        queue_up(pipeline, "settle", queue, settle_arguments(_HELD, (), (), going_on, longest_hold_ms))
        for sequence in holding:
            pipeline.hset(f"{base}:event", str(sequence), records[sequence])
        _forget(pipeline, base, holding)
        _count_no_more(pipeline, base, holding, "buried")
        queue_up(pipeline, "append", queue, append_arguments(anew, _NO_LIMIT, 1, longest_hold_ms, join_s))
        pipeline.hset(note[0], mapping=cast(dict[Any, Any], note[1]))

    holding, replies = _in_one_step(client, queue, records, put, as_of)
    flags, wake, _last = replies[-2]
    return PutBack(len(holding) + flags.count(b"1"), bool(wake or holding))


def discard(client: redis.Redis, queue: str, sequences: Collection[int], *, longest_hold_ms: int = 0) -> int:
    """Remove letters for good; what is behind those that hold goes on. Return how many were there."""

    def remove(pipeline: Pipeline, holding: set[int], base: str) -> None:
        queue_up(pipeline, "settle", queue, settle_arguments(_HELD, holding, (), (), longest_hold_ms))
        _count_no_more(pipeline, base, holding, "delivered")
        _forget(pipeline, base, sequences)

    return int(_in_one_step(client, queue, sequences, remove)[1][-1])


def let_go(client: redis.Redis, queue: str, reasons: Mapping[int, bytes], *, longest_hold_ms: int = 0) -> None:
    """Let what is behind letters that hold go on; the letters stay, each with this reason."""

    def leave(pipeline: Pipeline, holding: set[int], base: str) -> None:
        buried = [Burial(sequence, reasons[sequence]) for sequence in holding]
        queue_up(pipeline, "settle", queue, settle_arguments(_HELD, (), buried, (), longest_hold_ms))
        _count_no_more(pipeline, base, holding, "buried")
        pipeline.incrby(f"{base}:grave:changes", len(holding))

    _in_one_step(client, queue, reasons, leave)


def held_letters(client: redis.Redis, queue: str) -> list[int]:
    """Return the letters that hold."""
    held = cast(set[bytes], client.smembers(f"{keys.base(queue)}:claim:{_HELD}"))
    return sorted(map(int, held))


def open_file(client: redis.Redis, queue: str, file: str) -> None:
    """Let letters be spilled to this file."""
    client.sadd(_notes(queue, file), "open")


def spill(client: redis.Redis, queue: str, file: str, sequences: Collection[int], *, as_of: int) -> int:
    """Remove letters that this file has, and count them as spilled; return how many. Those that hold stay, and all do
    unless the file is open, and `changes` are those `as_of` which they were read."""
    return int(run(client, "spill", queue, (file, as_of, *sequences)))


def close_file(client: redis.Redis, queue: str, file: str) -> set[int]:
    """Let no more letters be spilled to this file; return those that were: it alone has them. Idempotent, until
    `forget_file`."""
    with client.pipeline(transaction=True) as pipeline:
        pipeline.srem(_notes(queue, file), "open")
        pipeline.smembers(_notes(queue, file))
        _, spilled = pipeline.execute()
    return set(map(int, spilled))


def forget_file(client: redis.Redis, queue: str, file: str) -> None:
    """Note no longer what was spilled to this file."""
    client.unlink(_notes(queue, file))


def bury(client: redis.Redis, queue: str, old: Sequence[OldLetter]) -> int:
    """Add dead letters from elsewhere and return how many; one that is there already is not added again."""
    arguments: list[Argument] = []
    for one in old:
        record = keys.record(one.accepted_at_ms, list(dict.fromkeys(map(keys.digest, one.keys))), one.body)
        arguments += ("" if one.sequence is None else one.sequence, record, one.letter)
    return int(run(client, "bury", queue, arguments))


def mend(client: redis.Redis, queue: str, was: DeadLetter, body: bytes, letter: bytes) -> bool:
    """Replace the event of a dead letter, and its reason; return False when it is not there any more as it was read."""
    return bool(run(client, "mend", queue, (was.sequence, was.body, was.letter, body, letter)))


def _notes(queue: str, file: str) -> str:
    return f"{keys.base(queue)}:spilled:{file}"


def _in_one_step(
    client: redis.Redis,
    queue: str,
    sequences: Collection[int],
    commands: Callable[[Pipeline, set[int], str], None],
    as_of: int | None = None,
) -> tuple[set[int], list[Any]]:
    """Run a transaction whose commands depend on which of the letters hold; return those, and the replies. Raises
    LettersChanged when letters were changed since `as_of`."""
    base = keys.base(queue)
    holding: set[int] = set()

    def step(pipeline: Pipeline) -> None:
        holding.clear()
        if as_of is not None and changes(pipeline, queue) != as_of:
            raise LettersChanged
        if sequences:
            names = list(map(str, sequences))
            flags = cast(list[int], pipeline.smismember(f"{base}:claim:{_HELD}", names))
            holding.update(sequence for sequence, holds in zip(sequences, flags, strict=True) if holds)
        pipeline.multi()
        commands(pipeline, holding, base)

    replies: list[Any] = client.transaction(step, f"{base}:claim:{_HELD}", f"{base}:grave:changes") or []
    return holding, replies


def _forget(pipeline: Pipeline, base: str, sequences: Collection[int]) -> None:
    """Remove the letters; the last reply is how many there were."""
    names = list(map(str, sequences)) or [""]
    pipeline.hdel(f"{base}:letter", *names)
    pipeline.zrem(f"{base}:grave", *names)
    pipeline.hdel(f"{base}:dead", *names)


def _count_no_more(pipeline: Pipeline, base: str, holding: Collection[int], counted_as: str) -> None:
    """Settling counted the letters that held; they are not that. Their attempts begin anew."""
    names = list(map(str, holding)) or [""]
    pipeline.hdel(f"{base}:attempts", *names)
    pipeline.hdel(f"{base}:deaths", *names)
    pipeline.hincrby(f"{base}:total", counted_as, -len(holding))
