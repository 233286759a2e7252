"""The audit of a queue: whether every event that was accepted has a fate, waits, or is a dead letter.

For each hour of acceptance the fates must add up (`lanes.fates`), and the events that Redis has must be those that are
open by the counts. The comparison of all counts is one script, whose cost depends on the number of hours. Only when the
numbers differ are the events of the queue listed by their names. An hour has the sum of the sequences of its open
events: where one is lost, the difference of the sums is its sequence, whatever keys it was removed from.

Beside it, the invariants of some events and dead letters are checked, of all where there are few (`lanes.verify`): an
event may be there and never be delivered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from lanes import fates, keys
from lanes.fates import Count
from lanes.queue import Queue
from lanes.scripts import run
from lanes.verify import Violation, verify_some

HOUR_S = 3600
MOST_NAMED = 50_000  # open events that are listed in one call, some 50 ms
MOST_VERIFIED = 2_000  # events and dead letters whose invariants one audit checks


@dataclass(frozen=True, slots=True)
class Hour:
    """The fates of the events that were accepted in an hour."""

    hour: int  # since 1970
    counts: tuple[Count, ...]
    open: int  # events that wait or are dead letters, by the counts
    lost: int = 0  # of these, events that Redis does not have; less than 0: it has more
    sequences: tuple[int, ...] = ()  # of the lost events, as far as they are known

    @property
    def difference(self) -> int:
        """Accepted events without a fate, beyond those that are open or lost: not 0 when counts were changed."""
        return sum(_sign(count) * count.events for count in self.counts) - self.open


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit."""

    hours: tuple[Hour, ...]
    violations: tuple[Violation, ...]  # of events and dead letters that are there
    is_named: bool = True  # False: events are lost, and there are too many others to name their hours
    lost: int = 0

    @property
    def balances(self) -> bool:
        """Whether nothing is missing."""
        return not (self.lost or self.violations or any(hour.difference or hour.lost for hour in self.hours))


def audit(queue: Queue, *, hours: Collection[int]) -> Audit:
    """Return the audit of these hours and of all hours with open events."""
    there, stored_open, *rows = run(queue, "audit", ("accounts", *hours))
    expected = _open(stored_open)
    values = iter(rows)
    found = [
        Hour(int(hour), tuple(fates.counts(_mapping(counts))), expected.get(int(hour), (0, 0))[0])
        for hour, counts in zip(values, values, strict=True)
    ]
    violations, lost = verify_some(queue, MOST_VERIFIED), sum(count for count, _ in expected.values()) - there
    is_sound = not lost and not any(count < 0 for count, _ in expected.values())
    named = {} if is_sound else _lost(queue)
    if named is not None:
        found = [_with_lost(hour, *named.get(hour.hour, (0, ()))) for hour in found]
    ordered = sorted((hour for hour in found if hour.counts or hour.open), key=lambda hour: hour.hour)
    return Audit(tuple(ordered), violations, named is not None, lost)


def fate_totals(queue: Queue) -> list[Count]:
    """Return the fates of all events since the queue was created."""
    return fates.counts(cast(dict[bytes, bytes], queue.client.hgetall(keys.FATE_TOTALS.of(queue.name))))


def _sign(count: Count) -> int:
    if count.fate == "dead":
        return 0
    return 1 if count.fate == "accepted" else -1


def _with_lost(hour: Hour, lost: int, sequences: Sequence[int]) -> Hour:
    return Hour(hour.hour, hour.counts, hour.open, lost, tuple(sequences))


def _lost(queue: Queue) -> dict[int, tuple[int, tuple[int, ...]]] | None:
    """Return by hour how many events are lost, and their sequences; None when there are too many events to list."""
    reply = run(queue, "audit", ("open", MOST_NAMED))
    if reply is None:
        return None
    expected, names = _open(reply[0]), iter(reply[1:])
    there: dict[int, list[int]] = {hour: [] for hour in expected}
    for name, second in zip(names, names, strict=True):
        there.setdefault(int(second) // HOUR_S, []).append(int(name))
    dangling = _dangling(queue, {sequence for hour in there.values() for sequence in hour})
    found = {}
    for hour, sequences in there.items():
        count, sum_ = expected.get(hour, (0, 0))
        if (count, sum_) != (len(sequences), sum(sequences)):
            lost = count - len(sequences)
            found[hour] = (lost, tuple(_named(lost, sum_ - sum(sequences), dangling)))
    return found


def _named(lost: int, sum_: int, dangling: Collection[int]) -> Iterator[int]:
    """Yield the sequences of the lost events of an hour: the names that other keys still have, and the one that the sum
    of all tells.
    """
    if lost == 1:
        yield sum_
    elif lost == len(dangling) and sum(dangling) == sum_:
        yield from sorted(dangling)
    elif lost == len(dangling) + 1:
        yield from sorted((*dangling, sum_ - sum(dangling)))


def _dangling(queue: Queue, known: Collection[int]) -> set[int]:
    """Return the sequences that other keys of the queue have, of events that are not there."""
    client, name = queue.client, queue.name
    found: set[Any] = set(client.smembers(keys.MISSING.of(name)))
    for key in (keys.LINKS, keys.FAILURE):
        found.update(client.hkeys(key.of(name)))
    for key in (keys.READY, keys.DEAD_INDEX):
        found.update(client.zrange(key.of(name), 0, -1))
    for claim in cast(list[bytes], client.zrange(keys.CLAIMS.of(name), 0, -1)):
        found.update(client.smembers(keys.CLAIM.of(name, claim.decode())))
    return {int(sequence) for sequence in found if sequence.isdigit()} - set(known)


def _open(stored: Sequence[bytes]) -> dict[int, tuple[int, int]]:
    """Return by hour the number of open events, and the sum of their sequences."""
    values = _mapping(stored)
    hours = {int(field.partition(b" ")[0]) for field in values}
    return {hour: (int(values.get(b"%d" % hour, 0)), int(values.get(b"%d sum" % hour, 0))) for hour in hours}


def _mapping(flat: Any) -> dict[bytes, bytes]:
    values = iter(flat)
    return dict(zip(values, values, strict=True))


def by_source(hour: Hour) -> Mapping[str, dict[str, int]]:
    """Return the numbers of an hour by source and fate; `waiting`: those that have none."""
    rows: dict[str, dict[str, int]] = {}
    for count in hour.counts:
        row = rows.setdefault(count.source, dict.fromkeys(("accepted", *fates.FATES, "waiting"), 0))
        row[count.fate] = row.get(count.fate, 0) + count.events
        row["waiting"] += count.events if count.fate == "accepted" else -count.events
    return rows
