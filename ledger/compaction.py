"""Merge the small files of past hours, so that finding a row opens few files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from ledger.files import DataFile, Files, Hour

MOST_ROWS: Final = 100_000  # of a merged file: it takes 200 MB of memory while it is written
# So long after its end, entries of an hour are seldom written any more.
SETTLED_MS: Final = 120_000


def compact(files: Files, hour: Hour) -> int:
    """Merge the files of an hour, and return how many there were less."""
    merged = 0
    for group in _groups(hour.files()):
        files.replace(hour, group, pa.concat_tables([file.table() for file in group]))
        merged += len(group) - 1
    return merged


def due(files: Files, now_ms: int, most_hours: int) -> list[Hour]:
    """Return the past hours with files that can be merged, the newest first; only the last `most_hours` are looked
    at."""
    past = [hour for hour in files.hours() if hour.ends_ms + SETTLED_MS <= now_ms]
    return [hour for hour in past[:most_hours] if next(_groups(hour.files()), None)]


def _groups(found: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    """Yield files that are merged into one: adjacent ones with MOST_ROWS at most, and more than one file."""
    group: list[DataFile] = []
    size = 0
    for file in found if len(found) > 1 else ():
        rows = pq.read_metadata(file.path).num_rows
        if group and size + rows > MOST_ROWS:
            if len(group) > 1:
                yield group
            group, size = [], 0
        group.append(file)
        size += rows
    if len(group) > 1:
        yield group
