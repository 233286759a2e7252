"""Erasing: every event with certain keys is removed from the queue for good, whatever its state.

Events that no claim owns leave their lanes at once, and each lane links their predecessor to their successor. A claimed
event may be in a request at this moment. Its body is removed, and its position stays until the claim ends. So no later
event of the same person overtakes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from lanes import fates, keys, records
from lanes.append import generation_ms
from lanes.queue import NO_LIMIT, Queue
from lanes.scripts import Argument, run

_MOST_EVENTS = 200
_MOST_STEPS = 1_500
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class ErasedEvent:
    """An event as it was before it was erased."""

    sequence: int
    how: str  # removed | dead_letter (a dead letter that blocked) | emptied (its position stays for a while)
    accepted_at_ms: int
    keys: tuple[bytes, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Erased:
    """The events that were erased, and the number of claimed events without a body: they leave when their claims
    end.
    """

    events: tuple[ErasedEvent, ...]
    claimed: int


def _as_forgotten(_body: bytes) -> str:
    return fates.FORGOTTEN


def erase(
    queue: Queue,
    digests: Iterable[bytes],
    *,
    sequences: Collection[int] = (),
    before: int | None = None,
    counted_as: Callable[[bytes], str | None] = _as_forgotten,
) -> Erased:
    """Erase every event with one of these keys' digests, accepted before the sequence `before` if one is given. Also
    erase the events with these `sequences`, whatever their keys.

    `counted_as` returns the name of the fate of an event with this body, see `lanes.fates`, and None for an event that
    stays. One call finds an event. The next one erases and counts it.

    The work is done in parts, each of them within some ten milliseconds of Redis' time. Idempotent; events that arrive
    meanwhile may or may not be erased.
    """
    events: list[ErasedEvent] = []
    wanted, steps, reached = tuple(digests), _MOST_STEPS, dict[bytes, bytes]()
    farthest: dict[bytes, int] = {}  # by lane, the last sequence that any call reached
    fate_of: dict[int, str] = {}  # of the events that were found and are not erased yet
    spared: list[int] = []  # found, and not to be erased
    while True:
        bounds = (_MOST_EVENTS, steps, queue.cooldown_ms, "" if before is None else before)
        events_of: tuple[Argument, ...] = (len(wanted), *wanted, len(spared), *spared)
        found: tuple[Argument, ...] = (len(fate_of), *(value for pair in fate_of.items() for value in pair))
        named = (len(sequences), *sequences)
        arguments: tuple[Argument, ...] = (*bounds, *events_of, *found, *named, *chain.from_iterable(reached.items()))
        more, walks, claimed, *reply = run(queue, "erase", arguments)
        fields, pairs = iter(reply), iter(walks)
        rows = [_event(*values) for values in zip(fields, fields, fields, strict=True)]
        erased = [row for row in rows if row.how != "found"]
        events += erased
        for row in rows:
            if row.how == "found":
                fate = counted_as(row.body)
                if fate is None:
                    spared.append(row.sequence)
                else:
                    fate_of[row.sequence] = fate
        for row in erased:
            fate_of.pop(row.sequence, None)
        if not more:
            return Erased(tuple(events), claimed)
        reached = dict(zip(pairs, pairs, strict=True))
        advanced = {lane: int(name) for lane, name in reached.items() if int(name) > farthest.get(lane, 0)}
        farthest |= advanced
        # A call that erased nothing and came no farther would come as far again: it needs more steps.
        steps = _MOST_STEPS if erased or advanced else steps if rows else 2 * steps


def _event(sequence: bytes, how: bytes, record: bytes) -> ErasedEvent:
    accepted_at_ms, digests, body = records.read_record(record)
    return ErasedEvent(int(sequence), how.decode(), accepted_at_ms, digests, body)


def remembered_hashes(queue: Queue) -> dict[str, list[bytes]]:
    """Return the hashes in which values are remembered by key for a while (`join`, `merged`, …), all generations."""
    found: dict[str, list[bytes]] = {}
    for name in queue.client.scan_iter(match=f"{keys.escaped(queue.base)}:*:*", count=_PAGE, _type="hash"):
        what, _, generation = name.decode().removeprefix(f"{queue.base}:").partition(":")
        if generation.isdigit():
            found.setdefault(what, []).append(name)
    return found


class Tied(NamedTuple):
    """A group of digests, and those that are tied to it."""

    digests: frozenset[bytes]
    is_too_large: bool = False  # more are tied to it than are followed: they are not among the digests


def joined_digests(
    queue: Queue, joins: Iterable[bytes], groups: Sequence[Collection[bytes]], most: int = NO_LIMIT
) -> list[Tied]:
    """Return each group of digests together with all that the hashes `joins` tie to it, in either direction,
    repeatedly. To a group to which more than `most` are tied none is added.

    A value of these hashes begins with a digest. A digest that is tied to several groups is added to one of them.
    """
    group_of = {digest: number for number, group in enumerate(groups) for digest in group}
    tied, too_large = [set(group) for group in groups], set[int]()
    names, size = tuple(joins), 0
    while size < len(group_of):
        size = len(group_of)
        for digest, value in chain.from_iterable(queue.client.hscan_iter(name, count=_PAGE) for name in names):
            pair = (digest, value[: keys.DIGEST_BYTES])
            number = group_of.get(pair[0], group_of.get(pair[1]))
            if number is None or number in too_large:
                continue
            tied[number].update(each for each in pair if group_of.setdefault(each, number) == number)
            if len(tied[number]) > len(groups[number]) + most:
                too_large.add(number)
    return [
        Tied(frozenset(groups[number]), True) if number in too_large else Tied(frozenset(tied[number]))
        for number in range(len(groups))
    ]


def erase_targets(queue: Queue, hashes: Iterable[bytes], digests: Collection[bytes]) -> int:
    """Remove the fields whose values begin with one of these digests; return how many there were."""
    erased = 0
    for name in hashes:
        found = queue.client.hscan_iter(name, count=_PAGE)
        fields = [field for field, value in found if value[: keys.DIGEST_BYTES] in digests]
        erased += int(queue.client.hdel(name, *fields)) if fields else 0
    return erased


def erase_fields(queue: Queue, hashes: Iterable[bytes], digests: Collection[bytes]) -> int:
    """Remove the fields of these digests from the hashes; return how many there were."""
    return sum(int(queue.client.hdel(name, *digests)) for name in hashes) if digests else 0


def erase_message_ids(queue: Queue, message_ids: Collection[str]) -> int:
    """Remove these message ids from the de-duplication window; return how many were there."""
    arguments: list[Argument] = [generation_ms(queue.dedupe_s), *map(records.fingerprint, message_ids)]
    return int(run(queue, "erase_ids", arguments))
