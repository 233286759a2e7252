"""The accounts of a destination, by source and hour of acceptance: the JSON of `segue audit --json`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, cast

import lanes
from console.output import utc
from delivery import log as delivery_log
from lanes import keys, records
from lanes.audit import HOUR_S
from mapping.envelope import message_key, readable_source, unpack

if TYPE_CHECKING:
    from ledger.rows import Row


# From the sequences of events and a time, Unix milliseconds, to the last row of each in the ledger since then.
LastOf = Callable[[Collection[int], int], "dict[int, Row]"]


def _no_ledger(_sequences: Collection[int], _since_ms: int) -> dict[int, Row]:
    return {}


def gather(
    queue: lanes.Queue, since_s: float = 0, *, configured: bool = True, last_of: LastOf = _no_ledger
) -> dict[str, Any]:
    """Return `{"destination", "configured", "balanced", "accepted", "lost", "missing", "hours"}` of the events that
    were accepted since the hour of `since_s`, Unix seconds.

    `missing` has `{"sequence", "message_id", "text"}` of each event that is lost or damaged; the message id is null
    where neither its record, the delivery log nor the ledger has it, and the text has the last row of the ledger.
    `hours` has an entry for each hour and source; its `difference` is how many of its events are missing.
    """
    result = lanes.audit(queue, first_hour=int(since_s) // HOUR_S)
    rows = [row for hour in result.hours for row in _rows(queue, hour)]
    return {
        "destination": queue.name,
        "configured": configured,
        "balanced": result.balances,
        "accepted": sum(row["accepted"] for row in rows),
        "lost": sum(abs(hour.lost) for hour in result.hours) + abs(result.unnamed),
        "missing": _missing(queue, result, last_of),
        "hours": rows,
    }


def _rows(queue: lanes.Queue, hour: lanes.Hour) -> Iterator[dict[str, Any]]:
    """Yield the numbers of each source. The open events are read only when the hour does not balance."""
    at = time.strftime("%Y-%m-%dT%H:00Z", time.gmtime(hour.hour * HOUR_S))
    rows = lanes.by_source(hour)
    open_ = {source: row["waiting"] + row["dead"] for source, row in rows.items()}
    there = open_ if hour.balances else _open_by_source(queue, hour.hour)
    for source, row in rows.items():
        yield {"hour": at, "source": source, **row, "difference": open_[source] - there.get(source, 0)}


def _open_by_source(queue: lanes.Queue, hour: int) -> Counter[str]:
    """Return how many events of an hour wait or are dead letters, by source."""
    found: dict[bytes, bytes] = {}
    for key in (keys.EVENT, keys.DEAD):
        for name, record in queue.client.hscan_iter(key.of(queue.name), count=500):
            accepted_at_ms, _, body = records.read_record(record)
            if accepted_at_ms // (1000 * HOUR_S) == hour:
                found[name] = body
    return Counter(map(readable_source, found.values()))


def _missing(queue: lanes.Queue, result: lanes.Audit, last_of: LastOf) -> list[dict[str, Any]]:
    lost = {sequence: hour.hour for hour in result.hours for sequence in hour.sequences}
    damaged = [(_sequence(violation.subject), violation) for violation in result.violations]
    message_ids = _message_ids(queue, {*lost, *(sequence for sequence, _ in damaged if sequence)})
    last = last_of(lost, min(lost.values(), default=0) * HOUR_S * 1000)
    message_ids |= {sequence: f"{row.source}:{row.message_id}" for sequence, row in last.items()}
    rows: list[tuple[int | None, str]] = [(sequence, _lost(last.get(sequence))) for sequence in lost]
    rows += [(sequence, f"{violation.subject}: {violation.text}") for sequence, violation in damaged]
    rows += [(None, text) for text in _unnamed(result)]
    return [{"sequence": row, "message_id": message_ids.get(row or 0), "text": text} for row, text in rows]


def _lost(last: Row | None) -> str:
    """Return what is known of an event that is lost. `last`: its last row in the ledger."""
    text = "it has neither a fate nor a record"
    if last is None:
        return text
    outcome = f"{last.outcome}: {last.reason}" if last.reason else last.outcome
    return f"{text}; the ledger has it at {utc(last.sent_ms)} as {outcome}"


def _unnamed(result: lanes.Audit) -> Iterator[str]:
    for hour in result.hours:
        unnamed = hour.lost - len(hour.sequences)
        if unnamed > 0:
            yield f"{unnamed:,} events of one hour are lost, and no key names them"
        elif unnamed < 0:
            yield f"{-unnamed:,} events of one hour have a record and a fate"
    if result.unnamed:
        yield f"{result.unnamed:,} events are lost; too many wait to list them"


def _sequence(subject: str) -> int | None:
    """Return the sequence of the event or dead letter that a violation is about."""
    kind, _, name = subject.rpartition(" ")
    return int(name) if kind in ("event", "dead letter") and name.isdigit() else None


def _message_ids(queue: lanes.Queue, sequences: Collection[int]) -> dict[int, str]:
    """Return SOURCE:MESSAGE ID of those events whose record is there, or that the delivery log has."""
    if not sequences:
        return {}
    names, found = [str(sequence) for sequence in sequences], delivery_log.message_ids(queue, sequences)
    for key in (keys.EVENT, keys.DEAD):
        stored = cast(list[bytes | None], queue.client.hmget(key.of(queue.name), names))
        for name, record in zip(names, stored, strict=True):
            try:
                if record:
                    found[int(name)] = message_key(*unpack(records.read_record(record)[2])[:2])
            except Exception:  # the record is damaged
                continue
    return found
