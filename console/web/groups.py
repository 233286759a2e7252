"""The kinds of errors among the dead letters of a destination, kept while the dead letters stay the same.

Counting the kinds reads every dead letter: 0.7 s for 100,000 of them. Where there are many, a thread counts, and a page
shows the last result meanwhile. A filter by reason, action, source and time reads nothing again: of each class of dead
letters the times are kept, 8 bytes for each.
"""

from __future__ import annotations

import math
import time
from array import array
from bisect import bisect_left
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Any, Final, NamedTuple

import orjson
import redis

import lanes
from dead_letters import query, record
from dead_letters.query import ErrorKind, Filter
from dead_letters.record import DeadLetter, Reason
from lanes.clock import machine_ms
from logs import events as log
from mapping.envelope import source_of

_KEPT: Final = 16
_AT_ONCE: Final = 2000  # dead letters that a page counts itself
_REST: Final = 10  # times as long as it took: until it is counted again in the meantime


class _Class(NamedTuple):
    """What the conditions on reason, action and source need of a dead letter, and the rows."""

    kind: ErrorKind
    actions: tuple[str, ...]  # of all faults
    source: str
    blocks: bool

    def matches(self, wanted: Filter) -> bool:
        """Whether the conditions hold."""
        return (
            wanted.reason in (None, self.kind.reason)
            and (wanted.action is None or wanted.action in self.actions)
            and wanted.source in (None, self.source)
        )


_Times = dict[_Class, "array[int]"]  # when the dead letters of a class were buried, Unix ms, in order


class _Counted(NamedTuple):
    """What was counted. `state` is what it depends on; times are those of `time.monotonic`, and Unix ms."""

    state: tuple[int, ...]
    times: _Times
    ended_s: float
    took_s: float
    at_ms: int


@dataclass(slots=True)
class _Slot:
    """The last count for a queue and the conditions that `_scope` leaves. The lock is held to count."""

    lock: Lock = field(default_factory=Lock)
    counted: _Counted | None = None


class Latest(NamedTuple):
    """The last rows of `gather`, None before they are counted for the first time; and the moment (Unix ms) of which
    they are, None for this one."""

    rows: list[dict[str, Any]] | None
    at_ms: int | None


class Groups:
    """The last results. Threads share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._slots: OrderedDict[tuple[str, Filter], _Slot] = OrderedDict()

    def of(self, queue: lanes.Queue, wanted: Filter) -> list[dict[str, Any]]:
        """Return a row for each kind of error among the present dead letters, the most frequent first: the members of
        `segue dead list --group --json`, and `{"first_ms", "last_ms", "blocking", "sources"}`."""
        return _rows(_count(self._slot(queue, wanted), queue, wanted).times, wanted)

    def latest(self, queue: lanes.Queue, wanted: Filter) -> Latest:
        """Return the rows of `of`. Where there are many dead letters they may be those of an earlier moment, or none
        yet; they are counted in another thread."""
        state, slot = _state(queue), self._slot(queue, wanted)
        counted = slot.counted
        if counted and counted.state == state:
            return Latest(_rows(counted.times, wanted), None)
        if state[0] <= _AT_ONCE or wanted.ids or wanted.person:
            return Latest(self.of(queue, wanted), None)
        has_rested = not counted or time.monotonic() - counted.ended_s > _REST * counted.took_s
        if has_rested and not slot.lock.locked():
            Thread(target=_count_again, args=(slot, queue, wanted), daemon=True).start()
        return Latest(_rows(counted.times, wanted), counted.at_ms) if counted else Latest(None, None)

    def _slot(self, queue: lanes.Queue, wanted: Filter) -> _Slot:
        key = queue.name, _scope(wanted)
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > _KEPT:
                self._slots.popitem(last=False)
            return slot


def _scope(wanted: Filter) -> Filter:
    """Return the conditions on which it depends what is counted; `_rows` applies the others."""
    return Filter(ids=wanted.ids, event=wanted.event, person=wanted.person, text=wanted.text)


def _count_again(slot: _Slot, queue: lanes.Queue, wanted: Filter) -> None:
    try:
        _count(slot, queue, wanted)
    except redis.RedisError:
        pass  # the pages say so
    except Exception as error:
        log.unhandled("counting dead letters", error)


def _count(slot: _Slot, queue: lanes.Queue, wanted: Filter) -> _Counted:
    """Return the count of the present dead letters, which another thread may have made meanwhile."""
    with slot.lock:
        state = _state(queue)
        if slot.counted is None or slot.counted.state != state:
            began_s, at_ms = time.monotonic(), machine_ms()
            times = _times(queue, _scope(wanted))
            ended_s = time.monotonic()
            slot.counted = _Counted(state, times, ended_s, ended_s - began_s, at_ms)
        return slot.counted


def _state(queue: lanes.Queue) -> tuple[int, ...]:
    """Return numbers of which one differs after every change of the dead letters; the first is how many there are."""
    return (*lanes.count_dead_letters(queue), lanes.dead_letter_changes(queue), lanes.stats(queue).buried_total)


def _rows(found: _Times, wanted: Filter) -> list[dict[str, Any]]:
    since_ms = wanted.since_ms or 0
    until_ms = math.inf if wanted.until_ms is None else wanted.until_ms
    rows: dict[ErrorKind, dict[str, Any]] = {}
    for each, times in found.items():
        first, end = bisect_left(times, since_ms), bisect_left(times, until_ms)
        if first < end and each.matches(wanted):
            row = rows.setdefault(each.kind, _row(each.kind, times[first]))
            row["count"] += end - first
            row["blocking"] += (end - first) * each.blocks
            row["first_ms"] = min(row["first_ms"], times[first])
            row["last_ms"] = max(row["last_ms"], times[end - 1])
            row["sources"].add(each.source)
    shown = [{**row, "sources": sorted(row["sources"])} for row in rows.values()]
    return sorted(shown, key=lambda row: -row["count"])


def _row(kind: ErrorKind, at_ms: int) -> dict[str, Any]:
    names = {"class": kind.reason.value, "subscription": kind.subscription, "action": kind.action}
    counts = {"count": 0, "blocking": 0, "first_ms": at_ms, "last_ms": at_ms, "sources": set()}
    return names | {"message": kind.message} | counts


def _times(queue: lanes.Queue, scope: Filter) -> _Times:
    found: defaultdict[_Class, list[int]] = defaultdict(list)
    for each, at_ms in _classes(queue, scope):
        found[each].append(at_ms)
    return {each: array("q", sorted(times)) for each, times in found.items()}


def _classes(queue: lanes.Queue, scope: Filter) -> Iterator[tuple[_Class, int]]:
    """Yield the class of each dead letter that matches, and when it was buried (Unix ms)."""
    if scope != Filter():
        yield from map(_class, query.matching(queue, scope))
        return
    for stored in query.stored(queue):
        try:
            yield _stored_class(stored)
        except Exception:  # of a record that is damaged, or of an older version
            yield _class(record.read(stored))


def _class(dead_letter: DeadLetter) -> tuple[_Class, int]:
    failure = dead_letter.failure
    actions = tuple(fault.action for fault in failure.faults)
    return _Class(query.kind_of(dead_letter), actions, dead_letter.source, dead_letter.blocks), failure.buried_at_ms


def _stored_class(stored: lanes.DeadLetter) -> tuple[_Class, int]:
    """Return the same without reading the event, which takes most of the time."""
    failure = orjson.loads(stored.failure)
    faults = failure["faults"]
    first = faults[0] if faults else {"subscription": None, "action": None}
    kind = query.kind(Reason(failure["class"]), first["subscription"], first["action"], failure["message"])
    actions = tuple([fault["action"] for fault in faults])
    return _Class(kind, actions, source_of(stored.body), stored.blocks), failure["buried_at_ms"]
