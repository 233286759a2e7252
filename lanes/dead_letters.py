"""Dead letters: events that could not be delivered, in the order in which they were accepted.

A dead letter that blocks keeps its position in its lanes; its successors wait until it is requeued, discarded or
unblocked. The others have left their lanes: they are appended again (`NewEvent.replaces`), behind the events that are
live by then. Either way a dead letter is used once, in one step, by whichever caller comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import redis
from redis.client import Pipeline
from redis.exceptions import ResponseError

from lanes import fates, keys, records
from lanes.append import NewEvent, append_arguments
from lanes.claims import Burial, Release, settle_arguments
from lanes.queue import Queue
from lanes.scripts import Argument, queue_up, raise_named, run

_BLOCKING_CLAIM = "blocking"
_WAITS = ""  # in place of the fate of a dead letter: it waits again


class DeadLettersChanged(Exception):
    """A dead letter was edited or unblocked after the caller read it; nothing was done."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter as it is stored."""

    sequence: int  # its number in the order of acceptance
    accepted_at_ms: int
    keys: tuple[bytes, ...]  # digests of its ordering keys
    body: bytes
    failure: bytes  # why it was buried, in the words of the caller that did
    blocks: bool


@dataclass(frozen=True, slots=True)
class ImportedDeadLetter:
    """A dead letter from elsewhere. It keeps its sequence when no other event has it."""

    sequence: int | None
    accepted_at_ms: int
    keys: tuple[str, ...]  # its ordering keys
    body: bytes
    failure: bytes
    counted_as: str = fates.DEAD  # see `lanes.fates`
    accepted_as: str = fates.ACCEPTED


@dataclass(frozen=True, slots=True)
class Requeued:
    """The result of requeuing dead letters."""

    count: int  # those that were still there
    wake: bool  # the caller should request a deliverer


def list_dead_letters(queue: Queue, *, after: int = 0, most: int = 500) -> list[DeadLetter]:
    """Return the dead letters behind the sequence `after`, in their order, `most` at a time."""
    found = queue.client.zrangebyscore(keys.DEAD_INDEX.of(queue.name), f"({after}", "+inf", start=0, num=most)
    return get_dead_letters(queue, [int(name) for name in cast(list[bytes], found)])


def get_dead_letters(queue: Queue, sequences: Sequence[int]) -> list[DeadLetter]:
    """Return the dead letters with these sequences, as far as they exist."""
    if not sequences:
        return []
    names = list(map(str, sequences))
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.hmget(keys.DEAD.of(queue.name), names)
        pipeline.hmget(keys.FAILURE.of(queue.name), names)
        pipeline.smismember(keys.BLOCKING.of(queue.name), names)
        found, failures, blocking = pipeline.execute()
    return [
        DeadLetter(sequence, *records.read_record(record), failure, bool(blocks))
        for sequence, record, failure, blocks in zip(sequences, found, failures, blocking, strict=True)
        if record is not None and failure is not None
    ]


def dead_letters_of(queue: Queue, digest: bytes, *, after: int = 0, most: int = 500) -> list[int]:
    """Return the sequences of the dead letters with the ordering key of this digest, in the order of their events. They
    are the first `most` behind the sequence `after`."""
    first, last = _members(digest, after)
    found = queue.client.zrangebylex(keys.DEAD_KEYS.of(queue.name), first, last, start=0, num=most)
    return _sequences(cast(list[bytes], found))


def last_dead_letters_of(queue: Queue, digest: bytes, most: int) -> tuple[list[int], int]:
    """Return the sequences of the last `most` dead letters with the ordering key of this digest, and how many there
    are. They are in the order of their events."""
    name, (first, last) = keys.DEAD_KEYS.of(queue.name), _members(digest)
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.zrevrangebylex(name, last, first, start=0, num=most)
        pipeline.zlexcount(name, first, last)
        found, count = pipeline.execute()
    return _sequences(reversed(found)), int(count)


def _members(digest: bytes, after: int = 0) -> tuple[bytes, bytes]:
    """Return the bounds of the members of :dead_keys with this digest and a greater sequence."""
    return b"(%b%0*d" % (digest, keys.SEQUENCE_DIGITS, after), b"[%b\xff" % digest


def _sequences(members: Iterable[bytes]) -> list[int]:
    return [int(member[keys.DIGEST_BYTES :]) for member in members]


def count_dead_letters(queue: Queue) -> tuple[int, int]:
    """Return how many dead letters there are, and the sequence of the last one."""
    index = keys.DEAD_INDEX.of(queue.name)
    last = cast(list[bytes], queue.client.zrange(index, -1, -1))
    return int(queue.client.zcard(index)), int(last[0]) if last else 0


def dead_letter_changes(queue: Queue) -> int:
    """Return how often a dead letter was edited or unblocked."""
    return _changes(queue.client, queue)


def requeue(
    queue: Queue,
    *,
    blocking: Collection[DeadLetter],
    appended: Sequence[NewEvent],
    as_of: int,
    record: tuple[str, Mapping[str, int]],
) -> Requeued:
    """Requeue dead letters in one step. The `blocking` ones keep their position and get the bodies given here. New
    events replace the `appended` ones. The same step writes the `record`, a hash and its fields. When the hash has
    these fields already, the step was made and its reply was lost: nothing is done, and all count.

    Raises DeadLettersChanged when `dead_letter_changes` is no longer `as_of`.
    """
    name, fields = record[0], cast(dict[Any, Any], record[1])
    stored = {dead.sequence: records.record(dead.accepted_at_ms, dead.keys, dead.body) for dead in blocking}

    def put(pipeline: Pipeline, present: set[int]) -> None:
        released = [Release(sequence, 0) for sequence in present]
        queue_up(pipeline, "settle", queue, settle_arguments(queue, _BLOCKING_CLAIM, released=released))
        for sequence in present:
            pipeline.hset(keys.EVENT.of(queue.name), str(sequence), stored[sequence])
        _remove(pipeline, queue, present, _WAITS)
        _uncount(pipeline, queue, present, "buried")
        queue_up(pipeline, "append", queue, append_arguments(queue.without_limit(), appended))
        pipeline.hset(name, mapping=fields)

    def is_done(pipeline: Pipeline) -> bool:
        return pipeline.hmget(name, list(fields)) == [str(value).encode() for value in fields.values()]

    present, replies = _in_one_step("requeue", queue, stored, put, as_of, is_done)
    if not replies:
        return Requeued(len(blocking) + len(appended), wake=True)
    flags, wake, *_ = replies[-2]
    return Requeued(len(present) + flags.count(b"1"), bool(wake or present))


def discard(
    queue: Queue, sequences: Collection[int], fate: Literal["discarded", "forgotten", "moved"] = "discarded"
) -> int:
    """Remove dead letters for good, which frees the successors of those that block. Return how many there were."""

    def remove(pipeline: Pipeline, blocking: set[int]) -> None:
        queue_up(pipeline, "settle", queue, settle_arguments(queue, _BLOCKING_CLAIM, blocking))
        _uncount(pipeline, queue, blocking, "delivered")
        _remove(pipeline, queue, sequences, fate)

    return int(_in_one_step("discard", queue, sequences, remove)[1][-1])


def unblock(queue: Queue, failures: Mapping[int, bytes], *, as_of: int) -> None:
    """Free the successors of dead letters that block; the dead letters stay, each with this failure.

    Raises DeadLettersChanged, and does nothing, when `dead_letter_changes` is no longer `as_of`.
    """

    def leave(pipeline: Pipeline, blocking: set[int]) -> None:
        buried = [Burial(sequence, failures[sequence]) for sequence in blocking]
        queue_up(pipeline, "settle", queue, settle_arguments(queue, _BLOCKING_CLAIM, buried=buried))
        _uncount(pipeline, queue, blocking, "buried")
        pipeline.incrby(keys.DEAD_CHANGES.of(queue.name), len(blocking))

    _in_one_step("unblock", queue, failures, leave, as_of)


def blocking_dead_letters(queue: Queue) -> list[int]:
    """Return the sequences of the dead letters that block."""
    return sorted(map(int, cast(set[bytes], queue.client.smembers(keys.BLOCKING.of(queue.name)))))


def open_spill(queue: Queue, file: str) -> None:
    """Allow dead letters to leave Redis for this file."""
    queue.client.sadd(keys.SPILLED.of(queue.name, file), "open")


def spill(queue: Queue, file: str, sequences: Collection[int], *, as_of: int) -> int:
    """Remove dead letters that this file contains, and count them as spilled; return how many. Those that block
    stay. All stay when the file is not open, or when `dead_letter_changes` is no longer `as_of`.
    """
    return int(run(queue, "spill", (file, as_of, *sequences)))


def close_spill(queue: Queue, file: str) -> set[int]:
    """End the spilling to this file; return the dead letters that are in it alone. Idempotent, until `end_spill`."""
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.srem(keys.SPILLED.of(queue.name, file), "open")
        pipeline.smembers(keys.SPILLED.of(queue.name, file))
        _, spilled = pipeline.execute()
    return set(map(int, spilled))


def end_spill(queue: Queue, file: str) -> None:
    """Delete what Redis knows of this file."""
    queue.client.unlink(keys.SPILLED.of(queue.name, file))


def import_dead_letters(queue: Queue, dead_letters: Sequence[ImportedDeadLetter]) -> int:
    """Add dead letters from elsewhere and return how many; one that exists already is not added again."""
    return int(run(queue, "import", import_arguments(dead_letters)))


def import_arguments(dead_letters: Iterable[ImportedDeadLetter]) -> list[Argument]:
    """Return the arguments of `import.lua`."""
    arguments: list[Argument] = []
    for dead in dead_letters:
        digests = list(dict.fromkeys(map(records.digest, dead.keys)))
        record = records.record(dead.accepted_at_ms, digests, dead.body)
        sequence = "" if dead.sequence is None else dead.sequence
        arguments += (sequence, record, dead.failure, dead.counted_as, dead.accepted_as)
    return arguments


def edit_dead_letter(queue: Queue, read: DeadLetter, body: bytes, failure: bytes) -> bool:
    """Replace the body and the failure of a dead letter; return False when it is no longer as it was `read`."""
    return bool(run(queue, "edit", (read.sequence, read.body, read.failure, body, failure)))


def _in_one_step(
    verb: str,
    queue: Queue,
    sequences: Collection[int],
    commands: Callable[[Pipeline, set[int]], None],
    as_of: int | None = None,
    is_done: Callable[[Pipeline], bool] = lambda _: False,
) -> tuple[set[int], list[Any]]:
    """Run a transaction whose commands depend on which of the dead letters block; return those, and the replies. There
    are no replies when it `is_done`: redis-py repeats it when a connection breaks, also after it was run.

    Raises DeadLettersChanged when one was changed since `as_of`. A Redis that is out of memory refuses the transaction
    as a whole. Each has a command that Redis refuses before it runs any (HSET, HINCRBY).
    """
    blocking: set[int] = set()

    def step(pipeline: Pipeline) -> None:
        blocking.clear()
        if is_done(pipeline):
            pipeline.multi()
            return
        if as_of is not None and _changes(pipeline, queue) != as_of:
            raise DeadLettersChanged
        if sequences:
            names = list(map(str, sequences))
            flags = cast(list[int], pipeline.smismember(keys.BLOCKING.of(queue.name), names))
            blocking.update(sequence for sequence, blocks in zip(sequences, flags, strict=True) if blocks)
        pipeline.multi()
        commands(pipeline, blocking)

    watched = keys.BLOCKING.of(queue.name), keys.DEAD_CHANGES.of(queue.name)
    try:
        replies: list[Any] = queue.client.transaction(step, *watched) or []
    except ResponseError as error:
        raise_named(error, verb, queue.base)
    return blocking, replies


def _changes(client: redis.Redis, queue: Queue) -> int:
    return int(cast(bytes | None, client.get(keys.DEAD_CHANGES.of(queue.name))) or 0)


def _remove(pipeline: Pipeline, queue: Queue, sequences: Collection[int], fate: str) -> None:
    """Remove the dead letters, and count their fate; the reply is how many there were."""
    queue_up(pipeline, "remove", queue, (fate, *sequences))


def _uncount(pipeline: Pipeline, queue: Queue, blocking: Collection[int], counted_as: str) -> None:
    """Take back what settling counted for dead letters that block, and delete their attempts."""
    names = list(map(str, blocking)) or [""]
    pipeline.hdel(keys.ATTEMPTS.of(queue.name), *names)
    pipeline.hdel(keys.EXPIRED_CLAIMS.of(queue.name), *names)
    pipeline.hincrby(keys.TOTAL.of(queue.name), counted_as, -len(blocking))
