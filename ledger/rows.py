"""The rows of the ledger: one for each item of a request, and one for each decision by which nothing was sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from delivery.recording.entries import Entry, LoggedItem
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
    """Return the rows of entries of the delivery log, in their order. Without `contents` they have neither bodies nor
    texts of Customer.io.

    It works on columns: rows as objects would take the processor three times as long.
    """
    items = [item for entry in entries for item in _items(entry, contents)]
    if not items:
        return SCHEMA.empty_table()
    sequences, accepted_ms, joined, message_keys, reasons, unapplied, outcomes, bodies = zip(*items, strict=True)
    heads = (entry[:-1] for entry in entries)
    ids, paths, workers, claimed_ms, sent_ms, responded_ms = zip(*heads, strict=True)
    entry_of = pa.array([number for number, entry in enumerate(entries) for _ in entry.items], pa.uint32())
    keys = pc.split_pattern(pa.array(message_keys, pa.string()), ":", max_splits=1)
    digests = pa.array(joined, pa.string())
    found = {
        "id": pa.array(ids, pa.string()).take(entry_of),
        "sequence": pa.array(sequences, pa.int64()),
        "outcome": pa.array(outcomes, pa.string()),
        "reason": pa.array(reasons, pa.string()),
        "source": pc.list_element(keys, 0),
        "message_id": pc.list_element(keys, 1),
        "digest": pc.utf8_slice_codeunits(digests, 0, _DIGITS),
        "digests": _divided(joined),
        "accepted_at": pa.array(accepted_ms, _TIME),
        "claimed_at": pa.array(claimed_ms, _TIME).take(entry_of),
        "sent_at": pa.array(sent_ms, _TIME).take(entry_of),
        "responded_at": pa.array(responded_ms, _TIME).take(entry_of),
        "worker": pa.array(workers, pa.string()).take(entry_of),
        "path": pa.array(paths, pa.string()).take(entry_of),
        "unapplied": pa.array(unapplied, pa.string()),
        "body": pa.array(bodies, pa.binary()).cast(pa.string()),
    }
    return pa.table([found[field.name] for field in SCHEMA], SCHEMA)


def of_table(table: pa.Table) -> list[Row]:
    """Return the rows of a table, in their order."""
    columns: list[list[Any]] = []
    for field in SCHEMA:
        column = table.column(field.name)
        columns.append((column.cast(pa.int64()) if field.type == _TIME else column).to_pylist())
    columns[_DIGESTS] = list(map(tuple, columns[_DIGESTS]))
    return list(map(Row, *columns))


def sorted_rows(table: pa.Table) -> pa.Table:
    """Return the table in the order of the files: by digest, then by time."""
    return table.combine_chunks().sort_by([("digest", "ascending"), ("sent_at", "ascending")])


def _items(entry: Entry, contents: bool) -> list[LoggedItem]:
    """Return the items of an entry as the ledger has them: a decision has its fate and its reason."""
    if entry.path is not None:
        return entry.items if contents else [item._replace(reason=None, body=None) for item in entry.items]
    decisions = []
    for item in entry.items:
        fate, reason = _fate(item.outcome)
        text = ": ".join(filter(None, (reason, item.reason if contents else None)))
        decisions.append(item._replace(outcome=fate, reason=text or None))
    return decisions


def _divided(joined: Sequence[str]) -> pa.ListArray:
    """Return the lists of digests that were joined."""
    ends = [0, *accumulate(len(each) // _DIGITS for each in joined)]
    starts = pa.array(range(0, ends[-1] * _DIGITS + 1, _DIGITS), pa.int32())
    content = pa.py_buffer("".join(joined).encode("ascii"))
    values = pa.StringArray.from_buffers(ends[-1], starts.buffers()[1], content)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)


@lru_cache(maxsize=1000)
def _fate(counted_as: str) -> tuple[str, str]:
    """Return the fate and the reason in the name of a count of `lanes.fates`."""
    fate, _, reason = orjson.loads(counted_as)
    return fate, reason
