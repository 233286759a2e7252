"""The files of the ledger of one destination: their names, how they are published, and how they replace one another.

A file of rows is `destination=NAME/day=YYYY-MM-DD/hour=HH/FIRST-LAST-N.parquet` below the directory of the ledger:
FIRST and LAST are the least and the greatest id of its rows, N counts how often they were rewritten. Its index, of the
same name, ends in `.idx`. Both never change. Rows get their name when they and their index are on the disk.

A crash leaves nothing half done: `recover` finishes or takes back what a killed process was at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ledger import index, rows

GROUP_ROWS: Final = 2000
_REPEATED: Final = ["outcome", "reason", "source", "worker", "path", "unapplied"]
_WITH_LIMITS: Final = ["id", "sequence", "digest", "accepted_at", "sent_at"]
_JOURNAL, _TEMPORARY = "replacing.json", "unfinished"
_HOUR_MS: Final = 3_600_000


class DataFile(NamedTuple):
    """A file of rows."""

    path: Path
    first: str  # the least id of its rows
    last: str  # the greatest one
    rewritten: int

    @classmethod
    def of(cls, path: Path) -> DataFile:
        """Return the file with this path. Raises ValueError: it has no name of such a file."""
        first, last, rewritten = path.stem.split("-")
        return cls(path, first, last, int(rewritten))

    @property
    def index_path(self) -> Path:
        """The path of its index."""
        return self.path.with_suffix(".idx")

    def table(self) -> pa.Table:
        """Return all rows."""
        with pq.ParquetFile(self.path) as file:
            return file.read()

    def ids(self) -> set[str]:
        """Return the ids of its rows."""
        with pq.ParquetFile(self.path) as file:
            return set(pc.unique(file.read(["id"]).column("id")).to_pylist())


class Hour(NamedTuple):
    """The directory with the rows that were sent in one hour."""

    path: Path
    starts_ms: int  # Unix milliseconds

    @property
    def ends_ms(self) -> int:
        """When the next hour begins, Unix milliseconds."""
        return self.starts_ms + _HOUR_MS

    def files(self) -> list[DataFile]:
        """Return its files by name. An hour that was removed has none."""
        with suppress(FileNotFoundError):
            return sorted(DataFile.of(path) for path in self.path.iterdir() if path.suffix == ".parquet")
        return []


class Files:
    """The files of one destination."""

    def __init__(self, directory: Path, destination: str) -> None:
        self.destination = destination
        self.directory = directory
        self.root = directory / f"destination={quote(destination, safe='')}"
        self._temporary = directory / _TEMPORARY
        self._journal = self.root / _JOURNAL

    def hours(self) -> list[Hour]:
        """Return the hours that have a directory, the newest first."""
        found = []
        for day in _named(self.root, "day="):
            starts_at = datetime.strptime(day.name, "day=%Y-%m-%d").replace(tzinfo=UTC)
            day_ms = int(starts_at.timestamp() * 1000)
            found += [Hour(hour, day_ms + int(hour.name[5:]) * _HOUR_MS) for hour in _named(day, "hour=")]
        return sorted(found, key=lambda hour: -hour.starts_ms)

    def hour_of(self, at_ms: int) -> Hour:
        """Return the hour of a time, Unix milliseconds."""
        starts_ms = at_ms - at_ms % _HOUR_MS
        starts_at = datetime.fromtimestamp(starts_ms / 1000, UTC)
        return Hour(self.root / f"day={starts_at:%Y-%m-%d}" / f"hour={starts_at:%H}", starts_ms)

    def add(self, hour: Hour, table: pa.Table) -> DataFile:
        """Publish a file with the rows of a table, which is not empty."""
        return self._published(self._written(hour, table, 0))

    def replace(self, hour: Hour, old: Iterable[DataFile], table: pa.Table) -> None:
        """Put the rows of a table in the place of files of the hour, at once. Without rows the files are removed."""
        old = list(old)
        new = None
        if table.num_rows:
            new = self._written(hour, table, 1 + max(file.rewritten for file in old))
        added = str(new.path.relative_to(self.root)) if new else None
        removed = [str(file.path.relative_to(self.root)) for file in old]
        _write(self._journal, orjson.dumps({"added": added, "removed": removed}))
        if new:
            self._published(new)
        self._finish_replacing(removed)

    def recover(self) -> None:
        """Finish or take back what a killed process was at. No other process may write."""
        if self._journal.exists():
            journal = orjson.loads(self._journal.read_bytes())
            added = journal["added"]
            is_published = added is None or (self.root / added).exists()
            self._finish_replacing(journal["removed"] if is_published else [])
        shutil.rmtree(self._temporary, ignore_errors=True)
        for hour in self.hours():
            for orphan in hour.path.glob("*.idx"):
                if not orphan.with_suffix(".parquet").exists():
                    orphan.unlink()

    def remove_before(self, at_ms: int) -> int:
        """Remove the hours that ended before this time (Unix milliseconds), and return how many."""
        ended = [hour for hour in self.hours() if hour.ends_ms <= at_ms]
        for hour in ended:
            shutil.rmtree(hour.path)
            with suppress(OSError):  # other hours of the day are left
                hour.path.parent.rmdir()
        return len(ended)

    def _written(self, hour: Hour, table: pa.Table, rewritten: int) -> DataFile:
        """Write the rows and their index to files that are not published yet, and return the file that they will be."""
        table = rows.sorted_rows(table)
        limits = pc.min_max(table.column("id")).as_py()
        file = DataFile.of(hour.path / f"{limits['min']}-{limits['max']}-{rewritten}.parquet")
        self._temporary.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(
            self._temporary / file.path.name,
            rows.SCHEMA,
            compression="zstd",
            compression_level=1,
            use_dictionary=_REPEATED,
            write_statistics=_WITH_LIMITS,
            sorting_columns=pq.SortingColumn.from_ordering(rows.SCHEMA, [("digest", "ascending")]),
        ) as writer:
            writer.write_table(table, row_group_size=GROUP_ROWS)
        _synchronize(self._temporary / file.path.name)
        _write(self._temporary / file.index_path.name, index.content(table, GROUP_ROWS))
        return file

    def _published(self, file: DataFile) -> DataFile:
        """Give a written file its name, after its index."""
        file.path.parent.mkdir(parents=True, exist_ok=True)
        for path in (file.index_path, file.path):
            os.replace(self._temporary / path.name, path)
        for directory in (file.path.parent, file.path.parent.parent, self.root):
            _synchronize(directory)
        return file

    def _finish_replacing(self, removed: Iterable[str]) -> None:
        for name in removed:
            path = self.root / name
            path.unlink(missing_ok=True)
            path.with_suffix(".idx").unlink(missing_ok=True)
            if path.parent.exists():
                _synchronize(path.parent)
        self._journal.unlink()


def _named(directory: Path, prefix: str) -> Iterator[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        yield from [path for path in directory.iterdir() if path.name.startswith(prefix)]


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it is on the disk, or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(path.suffix + ".new")
    unfinished.write_bytes(content)
    _synchronize(unfinished)
    os.replace(unfinished, path)
    _synchronize(path.parent)


def _synchronize(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
