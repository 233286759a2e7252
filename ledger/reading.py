"""Find rows of the ledger. Any process may read while another one writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from delivery.recording.entries import Entry
from ledger import index, rows
from ledger.files import NEVER_MS, DataFile, Files, Hour
from ledger.rows import Row
from ledger.storage import Storage

_ATTEMPTS: Final = 20
_PAUSE_S: Final = 0.02
_ULID_TIME, _ALPHABET = 10, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Wanted(NamedTuple):
    """Which rows are wanted: those that meet every condition. None is no condition."""

    digests: frozenset[str] | None = None  # has one of these ordering keys, in hexadecimal
    message_id: str | None = None  # MESSAGE ID or SOURCE:MESSAGE ID
    request_id: str | None = None
    sequences: frozenset[int] | None = None  # of the events
    since_ms: int | None = None  # sent at that time or later, Unix milliseconds
    until_ms: int | None = None  # sent before that time
    outcomes: frozenset[str] | None = None
    source: str | None = None
    text: str | None = None  # is a part of the reason, in any case

    def may_be_in(self, entry: Entry) -> bool:
        """Whether an entry of the delivery log may have wanted rows. It is quick, and true for some without any."""
        if self.digests is not None:
            return any(digest.encode() in entry.lines for digest in self.digests)
        if self.message_id is not None:
            message_id = self.message_id.partition(":")[2] or self.message_id  # a line has the source apart
            return entry.is_escaped or message_id.encode("utf-8", "surrogatepass") in entry.lines
        if self.sequences is not None:
            return any(str(sequence).encode() in entry.lines for sequence in self.sequences)
        return self.request_id in (None, entry.id)

    def includes(self, row: Row) -> bool:
        """Whether a row meets the conditions."""
        ids = (row.message_id, f"{row.source}:{row.message_id}")
        return (
            (self.digests is None or not self.digests.isdisjoint(row.digests))
            and (self.message_id is None or self.message_id in ids)
            and (self.request_id is None or self.request_id == row.id)
            and (self.sequences is None or row.sequence in self.sequences)
            and (self.since_ms is None or self.since_ms <= row.sent_ms)
            and (self.until_ms is None or row.sent_ms < self.until_ms)
            and (self.outcomes is None or row.outcome in self.outcomes)
            and (self.source is None or self.source == row.source)
            and (self.text is None or self.text.casefold() in (row.reason or "").casefold())
        )


class Horizon(NamedTuple):
    """How far a ledger reaches back, and its size."""

    oldest_ms: int  # the hour of the oldest rows begins, Unix milliseconds
    files: int
    bytes: int  # with indexes


def find(storage: Storage, destination: str, wanted: Wanted, limit: int) -> list[Row]:
    """Return the last `limit` rows that are wanted, the newest first. A place without a ledger has none."""
    files, found = Files(storage, destination), list[Row]()
    for of_hour in storage.each(partial(_of_hour, files, wanted), files.hours(*_span(wanted))):
        found += sorted(of_hour, key=lambda row: (row.sent_ms, row.sequence), reverse=True)
        if len(found) >= limit:
            break
    return found[:limit]


def horizon(storage: Storage, destination: str) -> Horizon | None:
    """Return how far the ledger of a destination reaches back; None without files."""
    files, size, oldest_ms = 0, 0, 0
    for hour in Files(storage, destination).hours():
        files += len(hour.files)
        size += sum(file.bytes for file in hour.files)
        oldest_ms = hour.starts_ms
    return Horizon(oldest_ms, files, size) if files else None


def _span(wanted: Wanted) -> tuple[int, int]:
    """Return from when to when the wanted rows were sent, Unix milliseconds."""
    since_ms = 0 if wanted.since_ms is None else wanted.since_ms
    until_ms = NEVER_MS if wanted.until_ms is None else wanted.until_ms
    if wanted.request_id is not None:
        sent_ms = _time_of(wanted.request_id)
        since_ms, until_ms = max(since_ms, sent_ms), min(until_ms, sent_ms + 1)
    return since_ms, until_ms


def _of_hour(files: Files, wanted: Wanted, hour: Hour) -> list[Row]:
    """Return the wanted rows of an hour. Files that are replaced meanwhile are looked for again."""
    for _ in range(_ATTEMPTS):
        try:
            return _newest((file, row) for file in hour.files for row in _of_file(files, file, wanted))
        except OSError:
            time.sleep(_PAUSE_S)
            found = files.hour_of(hour.starts_ms)
            if found == hour:
                raise
            hour = found
    raise FileNotFoundError(f"the files of {hour.name} are replaced all the time")


def _of_file(files: Files, file: DataFile, wanted: Wanted) -> Iterator[Row]:
    search = _by_index if wanted.digests is not None or wanted.message_id is not None else _by_columns
    return filter(wanted.includes, search(files, file, wanted))


def _by_index(files: Files, file: DataFile, wanted: Wanted) -> Iterator[Row]:
    """Yield rows among which are all that are wanted, by an ordering key or by a message id."""
    if wanted.message_id is not None:
        ids = {wanted.message_id, wanted.message_id.partition(":")[2]}  # a message id may have a colon itself
        keys = [index.key_of_message(each) for each in ids]
    else:
        keys = [index.key_of_digest(digest) for digest in wanted.digests or ()]
    found = files.indexed(file, keys)
    if found.rows:
        with files.opened(file) as opened:
            for group, numbers in found.by_group().items():
                yield from rows.of_table(opened.read_row_group(group).take(numbers))


def _by_columns(files: Files, file: DataFile, wanted: Wanted) -> Iterator[Row]:
    """Yield rows among which are all that are wanted, by reading the columns of the conditions."""
    if wanted.request_id is not None and not file.first <= wanted.request_id <= file.last:
        return
    conditions = list(_conditions(wanted))
    with files.opened(file) as opened:
        for group in range(opened.num_row_groups):
            if conditions:
                columns = opened.read_row_group(group, [name for name, _ in conditions])
                is_wanted = _all(columns, conditions)
                if pc.any(is_wanted).as_py():
                    yield from rows.of_table(opened.read_row_group(group).filter(is_wanted))
            else:
                yield from rows.of_table(opened.read_row_group(group))


_Condition = Callable[[pa.ChunkedArray], pa.ChunkedArray]


def _conditions(wanted: Wanted) -> Iterator[tuple[str, _Condition]]:
    """Yield the conditions that Arrow can compute: the name of a column, and the function of it."""
    if wanted.request_id is not None:
        yield "id", lambda column: pc.equal(column, wanted.request_id)
    if wanted.sequences is not None:
        yield "sequence", lambda column: pc.is_in(column, pa.array(sorted(wanted.sequences or ()), pa.int64()))
    if wanted.outcomes is not None:
        yield "outcome", lambda column: pc.is_in(column, pa.array(sorted(wanted.outcomes or ()), pa.string()))
    if wanted.source is not None:
        yield "source", lambda column: pc.equal(column, wanted.source)
    if wanted.text is not None:
        yield "reason", lambda column: pc.is_valid(column)


def _all(columns: pa.Table, conditions: list[tuple[str, _Condition]]) -> pa.ChunkedArray:
    name, condition = conditions[0]
    result = condition(columns.column(name))
    for name, condition in conditions[1:]:
        result = pc.and_(result, condition(columns.column(name)))
    return result


def _newest(found: Iterable[tuple[DataFile, Row]]) -> list[Row]:
    """Return the rows without those of a file that was being replaced: an id has all of its rows in one file."""
    of_id: dict[str, tuple[DataFile, list[Row]]] = {}
    for file, row in found:
        kept = of_id.get(row.id)
        if kept is None or kept[0].rewritten < file.rewritten:
            of_id[row.id] = (file, [row])
        elif kept[0] == file:
            kept[1].append(row)
    return [row for _, rows_of_id in of_id.values() for row in rows_of_id]


def _time_of(request_id: str) -> int:
    """Return the time of an id, Unix milliseconds; -1 for a text that is no ULID."""
    number = 0
    for character in request_id[:_ULID_TIME].upper():
        if character not in _ALPHABET:
            return -1
        number = number * 32 + _ALPHABET.index(character)
    return number if len(request_id) > _ULID_TIME else -1
