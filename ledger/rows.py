"""The rows of the ledger: one for each item of a request, and one for each decision by which nothing was sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson
import pyarrow as pa

from delivery.recording.entries import Entry
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


def of_entry(entry: Entry, *, contents: bool = True) -> list[Row]:
    """Return the rows of an entry of the delivery log. Without `contents` they have neither bodies nor texts of
    Customer.io."""
    return [Row(*values) for values in values_of(entry, contents=contents)]


def values_of(entry: Entry, *, contents: bool) -> list[tuple[Any, ...]]:
    """Return the values of the rows of an entry, in the order of the columns. Rows themselves cost a third more."""
    values = []
    for item in entry.items:
        sequence, accepted_ms, joined, message_key, text, unapplied, outcome, body = item
        if entry.path is None:
            outcome, reason = _fate(outcome)
            text = ": ".join(filter(None, (reason, text if contents else None))) or None
        source, _, message_id = message_key.partition(":")
        digests = tuple([joined[at : at + _DIGITS] for at in range(0, len(joined), _DIGITS)])
        values.append(
            (
                entry.id,
                sequence,
                outcome,
                text if contents or entry.path is None else None,
                source,
                message_id,
                digests[0] if digests else "",
                digests,
                accepted_ms,
                entry.claimed_ms,
                entry.sent_ms,
                entry.responded_ms,
                entry.worker,
                entry.path,
                unapplied,
                body.decode() if contents and body is not None else None,
            )
        )
    return values


def table_of(values: Iterable[Sequence[Any]]) -> pa.Table:
    """Return rows as a table, in their order: the values of each, in the order of the columns."""
    columns = list(zip(*values, strict=True)) or [()] * len(SCHEMA)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


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
    return table.sort_by([("digest", "ascending"), ("sent_at", "ascending")])


@lru_cache(maxsize=1000)
def _fate(counted_as: str) -> tuple[str, str]:
    """Return the fate and the reason in the name of a count of `lanes.fates`."""
    fate, _, reason = orjson.loads(counted_as)
    return fate, reason
