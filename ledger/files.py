"""The files of the ledger of one destination: their names, how they are published, and how they replace one another.

A file of rows is `destination=NAME/day=YYYY-MM-DD/hour=HH/FIRST-LAST-N.parquet` below the location of the ledger: FIRST
and LAST are the least and the greatest id of its rows, N counts how often they were rewritten. Its index, of the same
name, ends in `.idx`. Both never change. The index is written before the rows, and removed after them.

A crash leaves nothing half done: `recover` finishes or takes back what a killed process was at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import quote

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ledger import index, rows
from ledger.storage import Storage, StoredFile

GROUP_ROWS: Final = 2000
_ROWS, _INDEX = ".parquet", ".idx"
_REPEATED: Final = ["outcome", "reason", "source", "worker", "path", "unapplied"]
_WITH_LIMITS: Final = ["id", "sequence", "digest", "accepted_at", "sent_at"]
_JOURNAL = "replacing.json"
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
NEVER_MS: Final = 2**63


class DataFile(NamedTuple):
    """A file of rows."""

    name: str
    first: str  # the least id of its rows
    last: str  # the greatest one
    rewritten: int
    bytes: int = 0  # with its index; 0: it was not listed
    keys: int = 0  # of its index, more than it has rows

    @classmethod
    def of(cls, name: str, size: int = 0, index_size: int = 0) -> DataFile:
        """Return the file with this name. Raises ValueError: no such file has this name."""
        first, last, rewritten = name.rpartition("/")[2].removesuffix(_ROWS).split("-")
        return cls(name, first, last, int(rewritten), size + index_size, index.keys_in(index_size))

    @property
    def index_name(self) -> str:
        """The name of its index."""
        return self.name.removesuffix(_ROWS) + _INDEX


class Hour(NamedTuple):
    """The rows that were sent in one hour."""

    name: str  # of the directory
    starts_ms: int  # Unix milliseconds
    files: tuple[DataFile, ...]  # by name, as they were when the hour was looked for

    @property
    def ends_ms(self) -> int:
        """When the next hour begins, Unix milliseconds."""
        return self.starts_ms + _HOUR_MS


class Files:
    """The files of one destination."""

    def __init__(self, storage: Storage, destination: str) -> None:
        self.destination = destination
        self.storage = storage
        self.root = f"destination={quote(destination, safe='')}"
        self._journal = f"{self.root}/{_JOURNAL}"

    def hours(self, since_ms: int = 0, until_ms: int = NEVER_MS) -> Iterator[Hour]:
        """Yield the hours between two times (Unix milliseconds) that have files, the newest first."""
        days = [day for day in self._days() if since_ms < _starts_ms(day) + _DAY_MS and _starts_ms(day) < until_ms]
        for of_day in self.storage.each(self.storage.files, days):
            for hour in sorted(_hours(of_day), key=lambda hour: -hour.starts_ms):
                if since_ms < hour.ends_ms and hour.starts_ms < until_ms:
                    yield hour

    def hour_of(self, at_ms: int) -> Hour:
        """Return the hour of a time, Unix milliseconds, with its files as they are now."""
        starts_ms = at_ms - at_ms % _HOUR_MS
        starts_at = datetime.fromtimestamp(starts_ms / 1000, UTC)
        name = f"{self.root}/day={starts_at:%Y-%m-%d}/hour={starts_at:%H}"
        return Hour(name, starts_ms, _data_files(self.storage.files(name)))

    @contextmanager
    def opened(self, file: DataFile) -> Iterator[pq.ParquetFile]:
        """Open a file of rows, for a `with` block. Raises FileNotFoundError: it was replaced."""
        with self.storage.opened(file.name) as source, pq.ParquetFile(source, pre_buffer=True) as parquet:
            yield parquet

    def table(self, file: DataFile) -> pa.Table:
        """Return all rows of a file."""
        with self.opened(file) as opened:
            return opened.read()

    def ids(self, file: DataFile) -> set[str]:
        """Return the ids of the rows of a file."""
        with self.opened(file) as opened:
            return set(pc.unique(opened.read(["id"]).column("id")).to_pylist())

    def indexed(self, file: DataFile, keys: Iterable[int]) -> index.Found:
        """Return the rows of a file that may have one of the keys of its index."""
        with self.storage.opened(file.index_name) as opened:
            return index.search(opened, keys, file.index_name)

    def add(self, hour: Hour, table: pa.Table) -> None:
        """Publish a file with the rows of a table, which is not empty."""
        sorted_table = rows.sorted_rows(table)
        self._publish(_name(hour, sorted_table, 0), sorted_table)

    def replace(self, hour: Hour, old: Iterable[DataFile], table: pa.Table) -> None:
        """Put the rows of a table in the place of files of the hour, at once. Without rows the files are removed."""
        old, table, added = list(old), rows.sorted_rows(table), None
        if table.num_rows:
            added = _name(hour, table, 1 + max(file.rewritten for file in old))
        removed = [file.name for file in old]
        self.storage.write(self._journal, orjson.dumps({"added": added, "removed": removed}))
        if added is not None:
            self._publish(added, table)
        self._finish_replacing(removed)

    def recover(self) -> None:
        """Finish or take back what a killed process was at. No other process may write."""
        self.storage.remove_unfinished()
        try:
            journal = orjson.loads(self.storage.read(self._journal))
        except FileNotFoundError:
            pass
        else:
            added = journal["added"]
            is_published = added is None or added in self._names(added.rpartition("/")[0])
            self._finish_replacing(journal["removed"] if is_published else [])
        for day in self._days():
            names = self._names(day)
            for name in names:
                if name.endswith(_INDEX) and name.removesuffix(_INDEX) + _ROWS not in names:
                    self.storage.remove(name)

    def remove_before(self, at_ms: int) -> None:
        """Remove the hours that ended before this time, Unix milliseconds."""
        for day in self._days():
            starts_ms = _starts_ms(day)
            if starts_ms + _DAY_MS <= at_ms:
                self.storage.remove_directory(day)
            elif starts_ms < at_ms:
                for hour in self.storage.directories(day):
                    if _starts_ms(hour) + _HOUR_MS <= at_ms:
                        self.storage.remove_directory(hour)

    def _days(self) -> list[str]:
        """Return the directories of days, the newest first."""
        return sorted((name for name in self.storage.directories(self.root) if "/day=" in name), reverse=True)

    def _names(self, directory: str) -> set[str]:
        return {file.name for file in self.storage.files(directory)}

    def _publish(self, name: str, table: pa.Table) -> None:
        """Write sorted rows after their index."""
        content = _parquet(table)
        self.storage.write(DataFile.of(name).index_name, index.content(table, GROUP_ROWS))
        self.storage.write(name, content)

    def _finish_replacing(self, removed: Iterable[str]) -> None:
        for name in removed:
            self.storage.remove(name)
            self.storage.remove(DataFile.of(name).index_name)
        self.storage.remove(self._journal)


def _name(hour: Hour, table: pa.Table, rewritten: int) -> str:
    limits = pc.min_max(table.column("id")).as_py()
    return f"{hour.name}/{limits['min']}-{limits['max']}-{rewritten}{_ROWS}"


def _parquet(table: pa.Table) -> pa.Buffer:
    """Return the content of a file with sorted rows."""
    content = pa.BufferOutputStream()
    with pq.ParquetWriter(
        content,
        rows.SCHEMA,
        compression="zstd",
        compression_level=1,
        use_dictionary=_REPEATED,
        write_statistics=_WITH_LIMITS,
        sorting_columns=pq.SortingColumn.from_ordering(rows.SCHEMA, [("digest", "ascending")]),
    ) as writer:
        writer.write_table(table, row_group_size=GROUP_ROWS)
    return content.getvalue()


def _hours(found: Iterable[StoredFile]) -> Iterator[Hour]:
    """Yield the hours that have files of rows."""
    of_hour: dict[str, list[StoredFile]] = {}
    for file in found:
        of_hour.setdefault(file.name.rpartition("/")[0], []).append(file)
    for name, files in of_hour.items():
        if data_files := _data_files(files):
            yield Hour(name, _starts_ms(name), data_files)


def _data_files(found: Iterable[StoredFile]) -> tuple[DataFile, ...]:
    size_of = dict(found)
    files = (DataFile.of(name, size_of[name]) for name in size_of if name.endswith(_ROWS))
    return tuple(DataFile.of(file.name, file.bytes, size_of.get(file.index_name, 0)) for file in files)


def _starts_ms(name: str) -> int:
    """Return when the day or the hour of a directory begins, Unix milliseconds."""
    parts = dict(part.split("=") for part in name.split("/"))
    starts_at = datetime.strptime(parts["day"], "%Y-%m-%d").replace(tzinfo=UTC)
    return int(starts_at.timestamp() * 1000) + int(parts.get("hour", 0)) * _HOUR_MS
