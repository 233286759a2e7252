"""Merge the small files of past hours, so that finding a row opens few files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ledger.files import DataFile, Files, Hour

# Of the index of a merged file, which has three for a row of an event with two ordering keys: such a file has 100,000
# rows, and takes 200 MB of memory while it is written.
MOST_KEYS: Final = 300_000
# So long after its end, entries of an hour are seldom written any more.
SETTLED_MS: Final = 120_000


def compact(files: Files, hour: Hour) -> int:
    """Merge the files of an hour, and return how many there were less."""
    merged = 0
    for group in _groups(hour.files):
        files.replace(hour, group, _merged(files, group))
        merged += len(group) - 1
    return merged


def due(files: Files, now_ms: int, most_hours: int) -> list[Hour]:
    """Return the past hours with files that can be merged, the newest first; only the last `most_hours` are looked
    at."""
    past = (hour for hour in files.hours() if hour.ends_ms + SETTLED_MS <= now_ms)
    return [hour for hour in islice(past, most_hours) if next(_groups(hour.files), None)]


def _merged(files: Files, group: Sequence[DataFile]) -> pa.Table:
    """Return the rows of the files. An id has all of its rows in one file: those of another one are left out, which a
    process wrote that had stalled until the next one owned the ledger."""
    tables, known = [], pa.array([], pa.string())
    for file in group:
        table = files.table(file)
        ids = table.column("id")
        tables.append(table.filter(pc.invert(pc.is_in(ids, known))))
        known = pa.concat_arrays([known, pc.unique(ids)])
    return pa.concat_tables(tables)


def _groups(found: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    """Yield files that are merged into one: adjacent ones with MOST_KEYS at most, and more than one file."""
    group: list[DataFile] = []
    size = 0
    for file in found if len(found) > 1 else ():
        if group and size + file.keys > MOST_KEYS:
            if len(group) > 1:
                yield group
            group, size = [], 0
        group.append(file)
        size += file.keys
    if len(group) > 1:
        yield group
