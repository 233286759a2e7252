"""The audit of a queue: whether every event that was accepted has a fate, waits, or is a dead letter.

For each hour of acceptance the fates must add up (`lanes.fates`), and Redis must have the events that are open by the
counts. Only when the number of these differs are they listed by name. An hour has the sum of the sequences of its open
events. Where one is lost, the difference of the sums is its sequence, whatever keys it was removed from.

An event may be there and never be delivered. So the invariants of some events and dead letters are checked too, of all
where there are few (`lanes.verify`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from lanes import fates, keys
from lanes.fates import Count
from lanes.queue import Queue
from lanes.scripts import run
from lanes.verify import Violation, verify_some

HOUR_S: Final = 3600
MOST_NAMED = 50_000  # open events that are listed in one call, some 50 ms
MOST_VERIFIED = 2_000  # events and dead letters whose invariants one audit checks
_MOST_HOURS = 24 * 31  # longer than the fates of an hour are kept
_PAGE = 24  # hours that one call reads


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
        """Accepted events without a fate, beyond those that are open: not 0 when counts were changed."""
        return sum(row["waiting"] + row["dead"] for row in by_source(self).values()) - self.open

    @property
    def balances(self) -> bool:
        """Whether no event is missing, and no source has events with a fate that were not accepted."""
        rows = by_source(self).values()
        return not (self.lost or self.difference or any(min(row["waiting"], row["dead"]) < 0 for row in rows))


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit."""

    hours: tuple[Hour, ...]
    violations: tuple[Violation, ...]  # of events and dead letters that are there
    unnamed: int = 0  # lost events of unknown hours: there are too many others to list

    @property
    def balances(self) -> bool:
        """Whether nothing is missing."""
        return not (self.unnamed or self.violations) and all(hour.balances for hour in self.hours)


def audit(queue: Queue, *, first_hour: int = 0) -> Audit:
    """Return the audit of the events that were accepted since an hour, of all whose fates are kept without one."""
    expected, lost = _open_events(queue)
    violations = verify_some(queue, MOST_VERIFIED)
    is_sound = not lost and all(count >= 0 for count, _ in expected.values())
    lost_of = {} if is_sound else _lost(queue)
    hours = _hours(queue, sorted(hour for hour in _kept(queue) | expected.keys() if hour >= first_hour))
    if lost_of is None:
        return Audit(tuple(hours), violations, lost)
    return Audit(tuple(replace(hour, **lost_of.get(hour.hour, {})) for hour in hours), violations)


def fate_totals(queue: Queue) -> list[Count]:
    """Return the fates of all events since the queue was created."""
    return fates.counts(cast(dict[bytes, bytes], queue.client.hgetall(keys.FATE_TOTALS.of(queue.name))))


def by_source(hour: Hour) -> Mapping[str, dict[str, int]]:
    """Return the numbers of an hour by source and fate; `waiting`: the events that have none."""
    rows: dict[str, dict[str, int]] = {}
    for count in hour.counts:
        row = rows.setdefault(count.source, dict.fromkeys(("accepted", *fates.FATES, "waiting"), 0))
        row[count.fate] += count.events
        row["waiting"] += count.events if count.fate == "accepted" else -count.events
    return rows


def _open_events(queue: Queue) -> tuple[dict[int, tuple[int, int]], int]:
    """Return the open events by the counts, see `_open`, and how many more these are than the open events there are."""
    there, stored = run(queue, "audit", ("open",))
    expected = _open(stored)
    return expected, sum(count for count, _ in expected.values()) - int(there)


def _kept(queue: Queue) -> set[int]:
    now = queue.client.time()[0] // HOUR_S
    return set(range(now - _MOST_HOURS, now + 1))


def _hours(queue: Queue, hours: Sequence[int]) -> Iterator[Hour]:
    """Yield the accounts of those hours that have any."""
    for first in range(0, len(hours), _PAGE):
        page = hours[first : first + _PAGE]
        values = iter(run(queue, "audit", ("hours", *page)))
        for hour, counts, open_ in zip(page, values, values, strict=True):
            if counts or int(open_):
                yield Hour(hour, tuple(fates.counts(_mapping(counts))), int(open_))


def _lost(queue: Queue) -> dict[int, dict[str, Any]] | None:
    """Return by hour how many events are lost, and their sequences, as fields of `Hour`; None when there are too many
    events to list."""
    reply = run(queue, "audit", ("names", MOST_NAMED))
    if reply is None:
        return None
    expected, names = _open(reply[0]), iter(reply[1:])
    there: dict[int, list[int]] = {hour: [] for hour in expected}
    for name, second in zip(names, names, strict=True):
        there.setdefault(int(second) // HOUR_S, []).append(int(name))
    dangling = _dangling(queue, {sequence for sequences in there.values() for sequence in sequences})
    found = {}
    for hour, sequences in there.items():
        count, sum_ = expected.get(hour, (0, 0))
        if (count, sum_) != (len(sequences), sum(sequences)):
            lost = count - len(sequences)
            found[hour] = {"lost": lost, "sequences": tuple(_named(lost, sum_ - sum(sequences), dangling))}
    return found


def _named(lost: int, sum_: int, dangling: Collection[int]) -> Iterator[int]:
    """Yield the sequences of the lost events of an hour. They are those that other keys still name, and the one that
    the sum gives.
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
