"""The kinds of errors among the dead letters of a destination, kept while the dead letters stay the same.

Counting the kinds reads every dead letter: some 2 s for 100,000 of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from threading import Lock
from typing import Any, Final

import orjson

import lanes
from dead_letters import query, record
from dead_letters.query import ErrorKind, Filter
from dead_letters.record import DeadLetter, Reason
from mapping.envelope import source_of

_KEPT: Final = 16


class Groups:
    """The last results, by what they depend on. Threads share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: OrderedDict[tuple[Any, ...], list[dict[str, Any]]] = OrderedDict()

    def of(self, queue: lanes.Queue, wanted: Filter) -> list[dict[str, Any]]:
        """Return the rows of `gather` for the present dead letters."""
        state = (*lanes.count_dead_letters(queue), lanes.dead_letter_changes(queue), lanes.stats(queue).buried_total)
        key = (queue.name, wanted, *state)
        with self._lock:
            rows = self._found.get(key)
            if rows is None:
                rows = self._found[key] = gather(queue, wanted)
            self._found.move_to_end(key)
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return rows


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
