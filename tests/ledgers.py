"""Entries of the delivery log, and ledgers, as tests use them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

import orjson
import pyarrow as pa
import redis

import lanes
from delivery.batching import Item, Request
from delivery.log import Recorder
from delivery.outcomes import Delivered, Outcome
from delivery.recording.entries import Packer, columns, event_columns
from ledger.files import Files
from ledger.rows import SCHEMA, Row, of_table
from ledger.storage import storage_of
from mapping.operation import BATCH_PATH
from tests.queues import queue_of

QUEUE = "q"
HOUR_MS = 3_600_000
NOON_MS = 1_795_953_600_000  # a full hour: 2026-11-29 12:00 UTC


def no_check() -> None:
    """An `ensure_owner` for a ledger that one process writes."""


def record(
    client: redis.Redis, claim_id: str, people: Sequence[str], outcomes: Sequence[Outcome] = (), start: int = 1
) -> None:
    """Have a worker record one request: an item for each person, by user id, whose event is `claim_id-NUMBER`."""
    events = tuple(
        lanes.ClaimedEvent(start + number, 0, 0, 0, NOON_MS, (lanes.digest(f"id:{person}"),), b"")
        for number, person in enumerate(people)
    )
    queue = queue_of(client, QUEUE)
    recorder = Recorder(queue, lanes.Claim(claim_id, events, None, 0), "worker")
    items = tuple(
        Item(
            start + number,
            0,
            "trackEvent",
            "event",
            BATCH_PATH,
            orjson.dumps({"identifiers": {"id": person}, "name": f"{claim_id}-{number}"}),
            f"web:{claim_id}-{number}",
        )
        for number, person in enumerate(people)
    )
    recorder.recording(lambda _: list(outcomes) or [Delivered()] * len(items))(Request(BATCH_PATH, items))
    recorder.write()


def packed_at(sent_ms: int, number: int, *digests: str) -> bytes:
    """Return an entry of one item that was sent at a time."""
    event = event_columns(number, sent_ms - 100, map(bytes.fromhex, digests))
    item = (event, f"web:m{number}", columns("", "", ""))
    head = {
        "path": BATCH_PATH,
        "worker": "w",
        "claimed_ms": sent_ms,
        "sent_ms": sent_ms,
        "responded_ms": sent_ms + 5,
    }
    return Packer(f"claim {number}").packed(sent_ms, head, [item], [orjson.dumps({"number": number})])


def row(number: int, sent_ms: int = NOON_MS, *keys: str, outcome: str = "delivered", reason: str | None = None) -> Row:
    """Return a row of an event with these ordering keys; its message id is `mNUMBER`."""
    digests = tuple(lanes.digest(key).hex() for key in keys or (f"id:{number}",))
    return Row(
        id=ulid(sent_ms, number),
        sequence=number,
        outcome=outcome,
        reason=reason,
        source="web",
        message_id=f"m{number}",
        digest=digests[0],
        digests=digests,
        accepted_ms=sent_ms - 1000,
        claimed_ms=sent_ms - 10,
        sent_ms=sent_ms,
        responded_ms=sent_ms + 5,
        worker="w",
        path=BATCH_PATH,
        unapplied=None,
        body=f'{{"number":{number}}}',
    )


def table_of(rows: Iterable[Row]) -> pa.Table:
    """Return rows as a table."""
    columns = zip(*([getattr(each, name) for name in Row.__slots__] for each in rows), strict=True)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


def ulid(sent_ms: int, number: int) -> str:
    """Return the id of the row with this number."""
    from delivery.ulid import derived_ulid

    return derived_ulid(sent_ms, blake2b(str(number).encode()).hexdigest())


def files_in(location: str | Path, destination: str = QUEUE) -> Files:
    """Return the files of a destination."""
    return Files(storage_of(str(location)), destination)


def all_rows(location: str | Path, destination: str = QUEUE) -> list[Row]:
    """Return every row of every file, in no order."""
    files = files_in(location, destination)
    return [each for hour in files.hours() for file in hour.files for each in of_table(files.table(file))]


def wait_until_written(client: redis.Redis, deadline_s: float = 30) -> None:
    """Wait until Redis keeps no entry."""
    until = time.monotonic() + deadline_s
    while client.llen(lanes.keys.LOG.of(QUEUE)):
        assert time.monotonic() < until
        time.sleep(0.02)
