"""What was sent for a person or an event, and why nothing was: from the ledger, and what Redis keeps for it.

Without the packages of the extra `ledger`, and without files, this is the delivery log alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

import lanes
from console.errors import CommandError
from console.output import counted, utc
from console.session import Session
from delivery import log as delivery_log
from delivery.outcomes import Delivered
from delivery.recording import entries, ledger
from delivery.unapplied import REASONS

_MOST_ROWS = 100_000

if TYPE_CHECKING:
    from ledger.reading import Wanted
    from ledger.rows import Row
    from ledger.storage import Storage


def require(session: Session) -> None:
    """Raise CommandError when the packages for the ledger are not installed."""
    if not session.settings.has_ledger:
        raise CommandError(
            "the ledger needs the packages of the extra `ledger` of pyproject.toml: pip install '.[ledger]'"
        )


def storage_of(session: Session) -> Storage:
    """Return where the ledger's files are. Raises CommandError: the setting has a fault that Arrow finds."""
    from ledger import storage

    location = session.settings.ledger_location
    try:
        return storage.storage_of(location)
    except (OSError, ValueError) as error:
        raise CommandError(f"SEGUE_LEDGER_DIR: {location} cannot be used: {error}") from None


def size_of(session: Session, destination: str) -> int | None:
    """Return the bytes of the ledger's files of a destination, None when none are at hand."""
    if not _has_files(session):
        return None
    from ledger import reading

    with _readable(session) as storage:
        found = reading.horizon(storage, destination)
    return found.bytes if found else 0


def find(session: Session, destination: str, wanted: Wanted, limit: int) -> list[Row]:
    """Return the last `limit` rows that are wanted, the newest first. What is not written yet comes from Redis."""
    return _find(session, session.queue(destination), wanted, limit)


def _find(session: Session, queue: lanes.Queue, wanted: Wanted, limit: int) -> list[Row]:
    from ledger import reading, rows

    recorded = [entry for entry in delivery_log.all_entries(queue, _text(wanted)) if wanted.may_be_in(entry)]
    unwritten = filter(wanted.includes, rows.of_table(rows.table_of(recorded)))
    with _readable(session) as storage:
        written = reading.find(storage, queue.name, wanted, limit)
    ids = {row.id for row in written}  # a batch may have been written since Redis was read, or not be removed yet
    found = [*(row for row in unwritten if row.id not in ids), *written]
    return sorted(found, key=lambda row: (row.sent_ms, row.sequence), reverse=True)[:limit]


def _text(wanted: Wanted) -> bytes:
    """Return a text that is in each entry of the log with wanted rows."""
    if wanted.digests is not None and len(wanted.digests) == 1:
        return next(iter(wanted.digests)).encode()
    return b"" if wanted.message_id is None else entries.part_of(wanted.message_id)


def row_json(row: Row) -> dict[str, Any]:
    """Return a row as JSON: the members of `ledger.rows.Row`; `body` is the text as sent."""
    return asdict(row)


def lines(session: Session, destination: str, found: list[Row], what: str) -> Iterator[str]:
    """Yield the rows as lines in order of time, two for each, after one that says how far back they were looked for."""
    yield f"{destination}: {counted(len(found), 'row')} of {what}; {horizon(session, destination)}"
    for row in reversed(found):
        yield from _row_lines(row)


def horizon(session: Session, destination: str) -> str:
    """Return in words how far back what was sent is known."""
    state = ledger.read(session.queue(destination))
    begins = _oldest_ms(session, destination)
    if begins is None:
        location = session.settings.ledger_location
        written = "no ledger has run" if state is None else f"no file is in {location}, the ledger may be elsewhere"
        return f"{written}; the delivery log alone was searched{_log_begins(session, destination)}"
    lost = f"; {state.discarded:,} requests were discarded unwritten" if state and state.discarded else ""
    return f"the ledger begins at {utc(begins)}{lost}"


def _oldest_ms(session: Session, destination: str) -> int | None:
    if not _has_files(session):
        return None
    from ledger import reading

    with _readable(session) as storage:
        found = reading.horizon(storage, destination)
    return None if found is None else found.oldest_ms


def _log_begins(session: Session, destination: str) -> str:
    last = delivery_log.oldest(session.queue(destination), 1)
    begins = entries.sent_ms(last[0]) if last else None
    return "" if begins is None else f", which begins at {utc(begins)}"


def _row_lines(row: Row) -> Iterator[str]:
    sent = datetime.fromtimestamp(row.sent_ms / 1000, UTC).isoformat(sep=" ", timespec="milliseconds")[:-6]
    what = f"{row.outcome}: {row.reason}" if row.reason else row.outcome
    if row.unapplied:
        what = f"{what}, but will not be applied: {REASONS.get(row.unapplied, row.unapplied)}"
    waited_s = (row.sent_ms - row.accepted_ms) / 1000
    facts = f"#{row.sequence} {row.source}:{row.message_id}, {waited_s:.3f} s after it was accepted, by {row.worker}"
    yield f"{sent} UTC {what}: {facts}"
    if row.path is not None and row.responded_ms is not None:
        answered = f"answered after {row.responded_ms - row.sent_ms:,} ms"
        yield f"  request {row.id} {row.path}, {answered}: {row.body or 'its body is not kept'}"


def sent_of(
    session: Session, queue: lanes.Queue, message_id: str, ids: Collection[str], limit: int
) -> list[dict[str, Any]]:
    """Return the last `limit` items sent for the events with a message id, as `all_for` does. `ids`: SOURCE:MESSAGE ID
    for each source that it may be of."""
    if not _has_files(session):
        return [asdict(item) for item in delivery_log.sent_of(queue, ids, limit)]
    from ledger.reading import Wanted

    return _sent(session, queue, Wanted(message_id=message_id), limit)


def last_of(session: Session, queue: lanes.Queue, sequences: Collection[int], since_ms: int) -> dict[int, Row]:
    """Return the last row of each of these events that has one since a time, Unix milliseconds. Reads a column of every
    file since then. Without a ledger there are none."""
    if not sequences or not _has_files(session):
        return {}
    from ledger.reading import Wanted

    found = _find(session, queue, Wanted(sequences=frozenset(sequences), since_ms=since_ms), _MOST_ROWS)
    return {row.sequence: row for row in reversed(found)}


def all_for(session: Session, queue: lanes.Queue, digest: bytes, limit: int) -> list[dict[str, Any]]:
    """Return the last `limit` items and decisions for an ordering key, the newest first, as
    `delivery.log.Sent`. `item` is null where the ledger keeps no contents. A decision has null for `path`,
    `responded_ms` and `item`, its fate for `outcome`, and its reason for `refusal`. Without a ledger there are none."""
    if not _has_files(session):
        return [asdict(item) for item in delivery_log.sent_for(queue, digest, limit)]
    from ledger.reading import Wanted

    return list(map(_sent_json, find(session, queue.name, Wanted(digests=frozenset([digest.hex()])), limit)))


def all_of(
    session: Session, queue: lanes.Queue, message_id: str, ids: Collection[str], limit: int
) -> list[dict[str, Any]]:
    """Return the last `limit` items and decisions of the events with a message id, as `all_for` does."""
    if not _has_files(session):
        return [asdict(item) for item in delivery_log.sent_of(queue, ids, limit)]
    from ledger.reading import Wanted

    return list(map(_sent_json, find(session, queue.name, Wanted(message_id=message_id), limit)))


def accepted_until(
    session: Session, queue: lanes.Queue, digests: frozenset[str], until_ms: int, limit: int
) -> list[dict[str, Any]]:
    """Return the last `limit` items with one of these ordering keys that Customer.io accepted, of those sent until a
    moment, as `all_for` does. Each one is there once."""
    if not _has_files(session):
        logged = [
            each for digest in sorted(digests) for each in delivery_log.sent_for(queue, bytes.fromhex(digest), limit)
        ]
        found = {(each.sequence, each.sent_ms, orjson.dumps(each.item)): each for each in logged}
        wanted = [each for each in found.values() if each.refusal is None and each.sent_ms <= until_ms]
        return [asdict(each) for each in sorted(wanted, key=lambda each: each.sent_ms, reverse=True)]
    from ledger.reading import Wanted

    outcomes = frozenset([entries.OUTCOMES[Delivered]])
    rows = find(session, queue.name, Wanted(digests=digests, until_ms=until_ms + 1, outcomes=outcomes), limit)
    return [_sent_json(row) for row in rows]


def _has_files(session: Session) -> bool:
    if not session.settings.has_ledger:
        return False
    with _readable(session) as storage:
        return storage.is_there()


@contextmanager
def _readable(session: Session) -> Iterator[Storage]:
    """Enter a `with` block that reads the ledger's files. Raises CommandError: they cannot be read."""
    storage = storage_of(session)
    try:
        yield storage
    except (OSError, ValueError) as error:
        raise CommandError(f"the ledger in {storage.location} cannot be read: {error}") from None


def _sent(session: Session, queue: lanes.Queue, wanted: Wanted, limit: int) -> list[dict[str, Any]]:
    requests = wanted._replace(outcomes=frozenset(entries.OUTCOMES.values()))
    return [_sent_json(row) for row in find(session, queue.name, requests, limit)]


def _sent_json(row: Row) -> dict[str, Any]:
    return {
        "sequence": row.sequence,
        "accepted_ms": row.accepted_ms,
        "claimed_ms": row.claimed_ms,
        "sent_ms": row.sent_ms,
        "responded_ms": row.responded_ms,
        "message_id": f"{row.source}:{row.message_id}",
        "refusal": entries.refusal(row.outcome, row.reason),
        "path": row.path,
        "worker": row.worker,
        "item": None if row.body is None else orjson.loads(row.body),
        "unapplied": row.unapplied,
        "outcome": row.outcome,
    }
