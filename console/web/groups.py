"""The kinds of errors among the dead letters of a destination, kept while the dead letters stay the same.

Counting the kinds reads every dead letter: some 2 s for 100,000 of them. Where it takes long, a page shows the last
result, and a thread counts again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from threading import Lock, Thread
from typing import Any, Final, NamedTuple

import orjson
import redis

import lanes
from dead_letters import query, record
from dead_letters.query import ErrorKind, Filter
from dead_letters.record import DeadLetter, Reason
from logs import events as log
from mapping.envelope import source_of

_KEPT: Final = 16
_LONG_S: Final = 0.1
_REST: Final = 10  # times as long as it took: until it is counted again in the meantime


class Counted(NamedTuple):
    """The rows of `gather`. `state` is what they depend on; times are those of `time.monotonic`, and Unix ms."""

    state: tuple[int, ...]
    rows: list[dict[str, Any]]
    ended_s: float
    took_s: float
    at_ms: int


class Groups:
    """The last results. Threads share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: OrderedDict[tuple[str, Filter], Counted] = OrderedDict()
        self._counting: set[tuple[str, Filter]] = set()

    def of(self, queue: lanes.Queue, wanted: Filter) -> list[dict[str, Any]]:
        """Return the rows of `gather` for the present dead letters."""
        with self._lock:
            state, found = _state(queue), self._found.get((queue.name, wanted))
            return found.rows if found and found.state == state else self._count(queue, wanted, state).rows

    def latest(self, queue: lanes.Queue, wanted: Filter) -> tuple[list[dict[str, Any]], int | None]:
        """Return the rows of `gather`. Where counting takes long they may be those of an earlier moment, which is
        returned as well (Unix ms); they are counted again in another thread."""
        found = self._found.get((queue.name, wanted))
        if found is None or found.took_s < _LONG_S:
            return self.of(queue, wanted), None
        if found.state == _state(queue):
            return found.rows, None
        if time.monotonic() - found.ended_s > _REST * found.took_s and (queue.name, wanted) not in self._counting:
            self._counting.add((queue.name, wanted))
            Thread(target=self._count_again, args=(queue, wanted), daemon=True).start()
        return found.rows, found.at_ms

    def _count_again(self, queue: lanes.Queue, wanted: Filter) -> None:
        try:
            with self._lock:
                self._count(queue, wanted, _state(queue))
        except redis.RedisError:
            pass  # the pages say so
        except Exception as error:
            log.unhandled("counting dead letters", error)
        finally:
            self._counting.discard((queue.name, wanted))

    def _count(self, queue: lanes.Queue, wanted: Filter, state: tuple[int, ...]) -> Counted:
        began_s, at_ms = time.monotonic(), time.time_ns() // 1_000_000
        rows = gather(queue, wanted)
        ended_s = time.monotonic()
        found = self._found[queue.name, wanted] = Counted(state, rows, ended_s, ended_s - began_s, at_ms)
        self._found.move_to_end((queue.name, wanted))
        while len(self._found) > _KEPT:
            self._found.popitem(last=False)
        return found


def _state(queue: lanes.Queue) -> tuple[int, ...]:
    """Return numbers of which one differs after every change of the dead letters."""
    return (*lanes.count_dead_letters(queue), lanes.dead_letter_changes(queue), lanes.stats(queue).buried_total)


def gather(queue: lanes.Queue, wanted: Filter) -> list[dict[str, Any]]:
    """Return a row for each kind of error, the most frequent first: the members of `segue dead list --group --json`,
    and `{"first_ms", "last_ms", "blocking", "sources"}`."""
    rows: dict[ErrorKind, dict[str, Any]] = {}
    for kind, at_ms, source, blocks in _errors(queue, wanted):
        row = rows.setdefault(kind, _row(kind, at_ms))
        row["count"] += 1
        row["blocking"] += blocks
        row["first_ms"], row["last_ms"] = min(row["first_ms"], at_ms), max(row["last_ms"], at_ms)
        row["sources"].add(source)
    found = [{**row, "sources": sorted(row["sources"])} for row in rows.values()]
    return sorted(found, key=lambda row: -row["count"])


def _errors(queue: lanes.Queue, wanted: Filter) -> Iterator[tuple[ErrorKind, int, str, bool]]:
    """Yield the kind of each dead letter, when it was buried, its source, and whether it blocks."""
    if wanted != Filter():
        yield from map(_error, query.matching(queue, wanted))
        return
    after = 0
    while page := lanes.list_dead_letters(queue, after=after, most=query.PAGE):
        for stored in page:
            try:
                yield _stored_error(stored)
            except Exception:  # of a record that is damaged, or of an older version
                yield _error(record.read(stored))
        after = page[-1].sequence


def _error(dead_letter: DeadLetter) -> tuple[ErrorKind, int, str, bool]:
    at_ms = dead_letter.failure.buried_at_ms
    return query.kind_of(dead_letter), at_ms, dead_letter.source, dead_letter.blocks


def _stored_error(stored: lanes.DeadLetter) -> tuple[ErrorKind, int, str, bool]:
    """Return the same without reading the event, which takes most of the time."""
    failure = orjson.loads(stored.failure)
    first = failure["faults"][0] if failure["faults"] else {"subscription": None, "action": None}
    kind = query.kind(Reason(failure["class"]), first["subscription"], first["action"], failure["message"])
    return kind, failure["buried_at_ms"], source_of(stored.body), stored.blocks


def _row(kind: ErrorKind, at_ms: int) -> dict[str, Any]:
    names = {"class": kind.reason.value, "subscription": kind.subscription, "action": kind.action}
    counts = {"count": 0, "blocking": 0, "first_ms": at_ms, "last_ms": at_ms, "sources": set()}
    return names | {"message": kind.message} | counts
