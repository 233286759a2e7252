"""The rows of the ledger: one for each item of a request, and one for each decision by which nothing was sent."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from delivery.recording.entries import COLUMNS, DELIVERED, Entry, unescaped
from lanes.keys import DIGEST_BYTES

_TIME = pa.timestamp("ms", tz="UTC")
SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("message_id", pa.string(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("digests", pa.list_(pa.field("element", pa.string(), nullable=False)), nullable=False),
        pa.field("accepted_at", _TIME, nullable=False),
        pa.field("claimed_at", _TIME, nullable=False),
        pa.field("sent_at", _TIME, nullable=False),
        pa.field("responded_at", _TIME),
        pa.field("worker", pa.string(), nullable=False),
        pa.field("path", pa.string()),
        pa.field("unapplied", pa.string()),
        pa.field("body", pa.string()),
    ]
)
_DIGITS = 2 * DIGEST_BYTES
_LINES = {name: pa.int64() if name in ("sequence", "accepted_ms") else pa.string() for name in COLUMNS}
_DIGESTS = SCHEMA.get_field_index("digests")


@dataclass(frozen=True, slots=True)
class Row:
    """One item of one request, or one decision. Times are Unix milliseconds: `accepted_ms` of Redis' clock, the others
    of the worker's."""

    id: str  # of the request; of decisions: of the record of their claim
    sequence: int  # of the event
    outcome: str  # of `delivery.recording.entries.OUTCOMES`; of a decision: a fate of `lanes.fates`
    reason: str | None  # why the item was not accepted, or why nothing was sent
    source: str
    message_id: str  # without the source
    digest: str  # the first of `digests`, by which the rows of a file are sorted; empty without one
    digests: tuple[str, ...]  # of the event's ordering keys, 16 hexadecimal digits each
    accepted_ms: int
    claimed_ms: int
    sent_ms: int  # of a decision: when it was recorded
    responded_ms: int | None  # None: a decision
    worker: str
    path: str | None  # None: a decision
    unapplied: str | None  # why it is accepted in vain, a key of `delivery.unapplied.REASONS`
    body: str | None  # as sent, JSON; None: a decision, or the ledger keeps no contents


def table_of(entries: Sequence[Entry], *, contents: bool = True) -> pa.Table:
    """Return the rows of entries of the delivery log, in no order. Without `contents` they have neither bodies nor
    texts of Customer.io. Raises ValueError and pyarrow.ArrowInvalid: an entry is damaged.

    It works on columns: an object for each value would take the processor three times as long.
    """
    alike: dict[tuple[bool, bool], list[Entry]] = {}
    for entry in entries:
        alike.setdefault((entry.path is None, entry.is_escaped), []).append(entry)
    tables = [
        _table(some, _columns(some, is_escaped, contents), is_decision, contents)
        for (is_decision, is_escaped), some in alike.items()
    ]
    return pa.concat_tables([SCHEMA.empty_table(), *tables])


def of_table(table: pa.Table) -> list[Row]:
    """Return the rows of a table, in their order."""
    columns: list[list[Any]] = []
    for field in SCHEMA:
        column = table.column(field.name)
        columns.append((column.cast(pa.int64()) if field.type == _TIME else column).to_pylist())
    columns[_DIGESTS] = list(map(tuple, columns[_DIGESTS]))
    return list(map(Row, *columns))


def numbers(values: array[int], kind: pa.DataType) -> pa.Array:
    """Return numbers as an array of Arrow, in place."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def sorted_rows(table: pa.Table) -> pa.Table:
    """Return the table in the order of the files: by digest. Rows with the same one keep their order."""
    return table.combine_chunks().sort_by("digest")


def _columns(entries: Sequence[Entry], is_escaped: bool, contents: bool) -> dict[str, pa.Array]:
    """Return the columns that items have, by their names in an entry, and `body`."""
    lines = _read(b"\n".join([entry.lines for entry in entries]), _LINES)
    if contents and entries[0].bodies:
        bodies = _read(b"\n".join([entry.bodies for entry in entries]), {"body": pa.string()})
        lines = lines.append_column("body", bodies.column("body"))
    columns = {name: lines.column(name).combine_chunks() for name in lines.column_names}
    if is_escaped:
        for name in ("source", "message_id", "reason", "detail"):
            texts = [None if text is None else unescaped(text) for text in columns[name].to_pylist()]
            columns[name] = pa.array(texts, pa.string())
    return columns


def _read(text: bytes, types: dict[str, pa.DataType]) -> pa.Table:
    """Return lines of values, which are separated by tabs. An empty value is null."""
    return csv.read_csv(
        pa.BufferReader(text),
        csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=list(types)),
        csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False),
        csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True),
    )


def _table(entries: Sequence[Entry], columns: dict[str, pa.Array], is_decision: bool, contents: bool) -> pa.Table:
    """Return the rows of entries with these columns, all of requests or all of decisions."""
    items = len(columns["sequence"])
    entry_of = array("I")
    for number, entry in enumerate(entries):
        entry_of.extend(repeat(number, entry.lines.count(b"\n") + 1))
    if len(entry_of) != items:
        raise ValueError(f"entries of {len(entry_of)} items have {items} lines")
    indices = numbers(entry_of, pa.uint32())
    digests = pc.fill_null(columns["digests"], "")
    nothing = pa.nulls(items, pa.string())
    reason, detail = columns["reason"], columns["detail"] if contents else nothing
    if is_decision:
        both = pc.binary_join_element_wise(reason, detail, ": ")  # null where one of them is
        reason, detail = pc.coalesce(both, reason, detail), nothing
    elif not contents:
        reason = nothing

    def of_entry(name: str, kind: pa.DataType) -> pa.Array:
        return pa.array([getattr(entry, name) for entry in entries], kind).take(indices)

    found = {
        "id": of_entry("id", pa.string()),
        "sequence": columns["sequence"],
        "outcome": pc.fill_null(columns["outcome"], DELIVERED),
        "reason": reason,
        "source": pc.fill_null(columns["source"], ""),
        "message_id": pc.fill_null(columns["message_id"], ""),
        "digest": pc.utf8_slice_codeunits(digests, 0, _DIGITS),
        "digests": _divided(digests),
        "accepted_at": columns["accepted_ms"].cast(_TIME),
        "claimed_at": of_entry("claimed_ms", _TIME),
        "sent_at": of_entry("sent_ms", _TIME),
        "responded_at": of_entry("responded_ms", _TIME),
        "worker": of_entry("worker", pa.string()),
        "path": of_entry("path", pa.string()),
        "unapplied": detail,
        "body": columns.get("body", nothing),
    }
    return pa.table([found[field.name] for field in SCHEMA], SCHEMA)


def _divided(joined: pa.StringArray) -> pa.ListArray:
    """Return the lists of digests that were joined."""
    _, offsets, content = joined.buffers()
    ends = pa.Array.from_buffers(pa.int32(), len(joined) + 1, [None, offsets])
    count = ends[-1].as_py() // _DIGITS
    starts = pa.py_buffer(array("i", range(0, count * _DIGITS + 1, _DIGITS)))
    values = pa.StringArray.from_buffers(count, starts, content)
    return pa.ListArray.from_arrays(pc.divide(ends, _DIGITS), values)
