"""Move entries of the delivery log to files: write them, then remove them from Redis.

A process that is killed between the two leaves entries in both. So every batch is compared with the files that may have
its ids, and nothing is missing or there twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import groupby
from typing import Final

import pyarrow as pa

import lanes
from delivery import log as delivery_log
from delivery.recording import entries
from delivery.recording.entries import Entry
from ledger import rows
from ledger.files import Files
from logs import events as log

BATCH_BYTES: Final = 4_000_000  # as stored in Redis; about ten times as much as rows


def write_batch(files: Files, queue: lanes.Queue, ensure_owner: Callable[[], None], *, contents: bool) -> int:
    """Move the oldest entries of the log to files, and return how many there were.

    `ensure_owner` raises when another process may write. Raises OSError and redis.RedisError; then some of the entries
    may be in files already, and the next call continues.
    """
    packed = delivery_log.oldest(queue, BATCH_BYTES)
    found = {entry.id: entry for each in packed if (entry := entries.unpacked(each)) is not None}
    if len(found) < len({entries.id_of(each) for each in packed}):
        log.LEDGER_ENTRY_UNREADABLE.write(destination=queue.name)
    written = _written(files, found.values())
    unwritten = [entry for entry in found.values() if entry.id not in written]
    ensure_owner()
    for at_ms, of_hour in groupby(sorted(unwritten, key=_hour), key=_hour):
        table = _table(list(of_hour), queue.name, contents)
        if table.num_rows:
            files.add(files.hour_of(at_ms), table)
    delivery_log.discard_written(queue, [entries.id_of(each) for each in packed])
    return len(packed)


def _table(found: Sequence[Entry], destination: str, contents: bool) -> pa.Table:
    """Return the rows of the entries, without an entry that causes an exception that no code expected."""
    try:
        return rows.table_of(found, contents=contents)
    except Exception as error:
        if len(found) == 1:
            log.unhandled("an entry for the ledger", error, destination=destination)
            return rows.SCHEMA.empty_table()
        middle = len(found) // 2
        return pa.concat_tables([_table(half, destination, contents) for half in (found[:middle], found[middle:])])


def _hour(entry: Entry) -> int:
    return entry.sent_ms // 3_600_000 * 3_600_000


def _written(files: Files, found: Collection[Entry]) -> set[str]:
    """Return which of the entries are in files."""
    written: set[str] = set()
    for at_ms, of_hour in groupby(sorted(found, key=_hour), key=_hour):
        ids = {entry.id for entry in of_hour}
        written |= ids & _ids_between(files, at_ms, min(ids), max(ids))
    return written


def _ids_between(files: Files, at_ms: int, first: str, last: str) -> set[str]:
    """Return the ids in the files of the hour that may have ids from `first` to `last`."""
    overlapping = (file for file in files.hour_of(at_ms).files if file.first <= last and first <= file.last)
    return {each for file in overlapping for each in files.ids(file)}
