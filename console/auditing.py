"""`segue audit`: whether every accepted event has a fate or waits, by source, destination and hour of acceptance.

`gather` is the JSON of `segue audit --json`; `render` are the lines for people.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, cast

import lanes
from console.errors import CommandError
from lanes import fates, keys, records
from mapping.envelope import message_key, source_of, unpack

_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400}
_MOST_HOURS = 24 * 31  # longer than the fates of an hour are kept
_HOUR_S = 3600
_EVENT = re.compile(r"(?:event|dead letter) (\d+)")


def hours(since: str) -> range:
    """Return the hours since 1970 that begin with the one of `30m`, `24h` or `7d` ago. Raises CommandError."""
    match = re.fullmatch(r"(\d+)([mhd])", since)
    if match is None:
        raise CommandError(f'--since: "{since}" is not a time such as 30m, 24h or 7d')
    now = int(time.time())
    first = (now - int(match[1]) * _UNITS[match[2]]) // _HOUR_S
    return range(max(first, now // _HOUR_S - _MOST_HOURS), now // _HOUR_S + 1)


def gather(queue: lanes.Queue, hours: range) -> dict[str, Any]:
    """Return `{"destination", "balanced", "accepted", "lost", "missing", "hours"}` of one destination.

    `missing` names each event that is lost or damaged: its sequence, its message id where Redis still has it, and what
    is wrong. `hours` has an entry for each hour and source; its `difference` is how many of its events are lost.
    """
    result = lanes.audit(queue, hours=hours)
    rows = [row for hour in result.hours for row in _rows(queue, hour)]
    return {
        "destination": queue.name,
        "balanced": result.balances,
        "accepted": sum(row["accepted"] for row in rows),
        "lost": sum(abs(hour.lost) for hour in result.hours) or abs(result.lost),
        "missing": list(_missing(queue, result)),
        "hours": rows,
    }


def render(result: dict[str, Any]) -> Iterator[str]:
    """Yield a line that says whether the destination balances, and a line for each difference."""
    state = "balanced" if result["balanced"] else "NOT balanced"
    yield f"destination {result['destination']}: {state}, {result['accepted']:,} events accepted"
    for fate in ("accepted", *fates.FATES, "waiting"):
        number = sum(row[fate] for row in result["hours"])
        if number and fate != "accepted":
            yield f"  {fate:<10} {number:>13,}"
    for row in result["hours"]:
        if row["difference"]:
            yield f"  {row['hour']} source {row['source'] or 'unknown'}: {row['difference']:+,} events differ"
    for missing in result["missing"]:
        message_id = f", message id {missing['message_id']}" if missing["message_id"] else ""
        yield f"  event {missing['sequence'] or 'unknown'}{message_id}: {missing['text']}"


def _rows(queue: lanes.Queue, hour: lanes.Hour) -> Iterator[dict[str, Any]]:
    """Yield the numbers of each source. The events of an hour are read only when some of them are lost."""
    at = time.strftime("%Y-%m-%dT%H:00Z", time.gmtime(hour.hour * _HOUR_S))
    rows = lanes.by_source(hour)
    there = _open_by_source(queue, hour.hour) if hour.lost else None
    for source, row in rows.items():
        difference = row["waiting"] + row["dead"] - there[source] if there is not None else 0
        if not difference and hour.difference and len(rows) == 1:
            difference = hour.difference
        yield {"hour": at, "source": source, **row, "difference": difference or min(row["waiting"], 0)}


def _open_by_source(queue: lanes.Queue, hour: int) -> Counter[str]:
    """Return how many events of an hour wait or are dead letters, by source."""
    found: dict[bytes, bytes] = {}
    for key in (keys.EVENT, keys.DEAD):
        for name, record in queue.client.hscan_iter(key.of(queue.name), count=500):
            accepted_at_ms, _, body = records.read_record(record)
            if accepted_at_ms // (1000 * _HOUR_S) == hour:
                found[name] = body
    return Counter(_source(body) for body in found.values())


def _source(body: bytes) -> str:
    try:
        return source_of(body)
    except Exception:
        return ""


def _missing(queue: lanes.Queue, result: lanes.Audit) -> Iterator[dict[str, Any]]:
    for hour in result.hours:
        for sequence in hour.sequences:
            yield {
                "sequence": sequence,
                "message_id": None,
                "text": "it was accepted, and has neither a fate nor a record",
            }
        unnamed = abs(hour.lost) - len(hour.sequences)
        if unnamed > 0:
            yield {"sequence": None, "message_id": None, "text": f"{unnamed:,} events of one hour are lost"}
    if not result.is_named:
        yield {
            "sequence": None,
            "message_id": None,
            "text": f"{result.lost:,} events are lost; too many wait to name them",
        }
    for violation in result.violations:
        match = _EVENT.fullmatch(violation.subject)
        named = int(match[1]) if match else None
        message_id = _message_id(queue, named) if named else None
        yield {"sequence": named, "message_id": message_id, "text": f"{violation.subject}: {violation.text}"}


def _message_id(queue: lanes.Queue, sequence: int) -> str | None:
    """Return SOURCE:MESSAGE ID of an event whose record is there."""
    for key in (keys.EVENT, keys.DEAD):
        record = cast(bytes | None, queue.client.hget(key.of(queue.name), str(sequence)))
        try:
            if record:
                return message_key(*unpack(records.read_record(record)[2])[:2])
        except Exception:
            continue
    return None
