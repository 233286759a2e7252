"""What was sent for a person or an event, and why nothing was: from the ledger, and what Redis keeps for it.

Without the packages of the extra `ledger`, and without files, this is the delivery log alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

import lanes
from console.errors import CommandError
from console.output import counted, utc
from console.session import Session
from delivery import log as delivery_log
from delivery.recording import entries, ledger
from delivery.unapplied import REASONS

if TYPE_CHECKING:
    from ledger.reading import Wanted
    from ledger.rows import Row


def require(session: Session) -> None:
    """Raise CommandError when the packages for the ledger are not installed."""
    if not session.settings.has_ledger:
        raise CommandError(
            "the ledger needs the packages of the extra `ledger` of pyproject.toml: pip install '.[ledger]'"
        )


def find(session: Session, destination: str, wanted: Wanted, limit: int) -> list[Row]:
    """Return the last `limit` rows that are wanted, the newest first. What is not written yet comes from Redis."""
    from ledger import reading, rows

    queue = session.queue(destination)
    recorded = [entry for entry in delivery_log.all_entries(queue) if wanted.may_be_in(entry)]
    unwritten = filter(wanted.includes, rows.of_table(rows.table_of(recorded)))
    written = reading.find(session.settings.ledger_path, destination, wanted, limit)
    ids = {row.id for row in written}  # a batch may have been written since Redis was read, or not be removed yet
    found = [*(row for row in unwritten if row.id not in ids), *written]
    return sorted(found, key=lambda row: (row.sent_ms, row.sequence), reverse=True)[:limit]


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
        directory = session.settings.ledger_path
        written = "no ledger has run" if state is None else f"no file is in {directory}, the ledger may be elsewhere"
        return f"{written}; the delivery log alone was searched{_log_begins(session, destination)}"
    lost = f"; {state.discarded:,} requests were discarded unwritten" if state and state.discarded else ""
    return f"the ledger begins at {utc(begins)}{lost}"


def _oldest_ms(session: Session, destination: str) -> int | None:
    if not _has_files(session):
        return None
    from ledger import reading

    found = reading.horizon(session.settings.ledger_path, destination)
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


def sent_for(session: Session, queue: lanes.Queue, digest: bytes, limit: int) -> list[dict[str, Any]]:
    """Return the last `limit` items sent for an ordering key, the newest first, as `delivery.log.Sent`. `item` is null
    where the ledger keeps no contents."""
    if not _has_files(session):
        return [asdict(item) for item in delivery_log.sent_for(queue, digest, limit)]
    from ledger.reading import Wanted

    return _sent(session, queue, Wanted(digests=frozenset([digest.hex()])), limit)


def sent_of(
    session: Session, queue: lanes.Queue, message_id: str, ids: Collection[str], limit: int
) -> list[dict[str, Any]]:
    """Return the last `limit` items sent for the events with a message id, as `sent_for` does. `ids`: SOURCE:MESSAGE ID
    for each source that it may be of."""
    if not _has_files(session):
        return [asdict(item) for item in delivery_log.sent_of(queue, ids, limit)]
    from ledger.reading import Wanted

    return _sent(session, queue, Wanted(message_id=message_id), limit)


def _has_files(session: Session) -> bool:
    return session.settings.has_ledger and session.settings.ledger_path.is_dir()


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
    }
