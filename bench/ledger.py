"""How large the ledger is, how quickly it is searched, and what it costs to write an item.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. `ledger.files` generates ROWS rows of thirty
days, a file for each hour as after compaction, and searches them: for a person, a message id and a request id that are
drawn by chance. `ledger.write` and `ledger.merge` are the processor time of the process for entries of a hundred items,
`ledger.record` that of a worker.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from statistics import median, quantiles

import orjson
import pyarrow as pa

import bench
import lanes
from bench.support.stage import Stage, unlimited
from delivery.batching import Item, Request
from delivery.log import Recorder
from delivery.outcomes import Delivered
from delivery.ulid import derived_ulid
from ledger import reading, writing
from ledger.files import Files
from ledger.reading import Wanted
from ledger.rows import Row
from ledger.storage import storage_of
from mapping.operation import BATCH_PATH
from tests.ledgers import table_of

ROWS = int(os.environ.get("ROWS", "20000000"))
HOURS = 30 * 24
SEARCHES = 50
WRITTEN_ITEMS = 200_000
_HOUR_MS, _ITEMS = 3_600_000, 100
_BEGIN_MS = 1_790_000_000_000 // _HOUR_MS * _HOUR_MS


def digest_of(kind: str, person: int) -> str:
    """Return the digest of an ordering key in hexadecimal."""
    return blake2b(f"{kind}:{person}".encode(), digest_size=8).hexdigest()


def body_of(chance: random.Random, person: int, number: int) -> bytes:
    """Return an event of a shop, as it is sent."""
    return orjson.dumps(
        {
            "type": "person",
            "identifiers": {"id": str(person)},
            "action": "event",
            "name": chance.choice(("Order Placed", "Product Viewed", "Cart Viewed")),
            "id": f"01J{number:023d}",
            "timestamp": 1_790_000_000 + number,
            "attributes": {
                "total": chance.randrange(100_000) / 100,
                "sku": f"sku-{chance.randrange(5000)}",
                "currency": "EUR",
                "url": f"https://shop.example.com/p/{chance.randrange(5000)}?ref={chance.randrange(10**6)}",
            },
        }
    )


def hour_of_rows(chance: random.Random, starts_ms: int, count: int, people: int) -> Iterator[Row]:
    """Yield the rows of one hour, a hundred for a request."""
    for number in range(count):
        sent_ms = starts_ms + number * _HOUR_MS // count
        request = sent_ms - number % _ITEMS * _HOUR_MS // count
        person = chance.randrange(people)
        digests = (digest_of("id", person), digest_of("anonymous_id", person))
        yield Row(
            derived_ulid(request, str(number // _ITEMS)),
            number,
            "delivered",
            None,
            "web",
            f"ajs-next-{sent_ms}-{chance.getrandbits(128):032x}",
            digests[0],
            digests,
            sent_ms - 900,
            sent_ms - 20,
            sent_ms,
            sent_ms + 60,
            f"segue-{number % 4}@host",
            BATCH_PATH,
            None,
            body_of(chance, person, number).decode(),
        )


def search(directory: Path) -> None:
    """Generate the rows, and measure their size and searches."""
    chance, files, people = random.Random(1), Files(storage_of(str(directory)), "demo"), max(ROWS // 20, 1)
    known: list[Row] = []
    spent_s = 0.0
    for hour in range(HOURS):
        starts_ms = _BEGIN_MS + hour * _HOUR_MS
        found = list(hour_of_rows(chance, starts_ms, ROWS // HOURS, people))
        known.append(chance.choice(found))
        began = time.process_time()
        files.add(files.hour_of(starts_ms), table_of(found))
        spent_s += time.process_time() - began
    bench.figure("ledger.files.write", HOURS * (ROWS // HOURS) / spent_s, "rows/s")
    horizon = reading.horizon(files.storage, "demo")
    assert horizon is not None
    size = sum(path.stat().st_size for path in directory.rglob("*.idx"))
    bench.figure("ledger.files.rows", ROWS, "rows")
    bench.figure("ledger.files.bytes", (horizon.bytes - size) / ROWS, "bytes/row")
    bench.figure("ledger.files.index", size / ROWS, "bytes/row")
    wanted: dict[str, Callable[[Row], Wanted]] = {
        "person": lambda row: Wanted(digests=frozenset([row.digest])),
        "message_id": lambda row: Wanted(message_id=row.message_id),
        "request_id": lambda row: Wanted(request_id=row.id),
    }
    for name, wanted_of in wanted.items():
        took_ms = []
        for row in chance.sample(known, SEARCHES):
            began = time.monotonic()
            assert row in reading.find(files.storage, "demo", wanted_of(row), 100_000)
            took_ms.append((time.monotonic() - began) * 1000)
        bench.figure(f"ledger.search.{name}.median", median(took_ms), "ms")
        bench.figure(f"ledger.search.{name}.p95", quantiles(took_ms, n=20)[-1], "ms")


def requests(chance: random.Random) -> Iterator[tuple[lanes.Claim, Request]]:
    """Yield claims of a hundred events, with the request for each."""
    for first in range(0, WRITTEN_ITEMS, _ITEMS):
        people = [chance.randrange(10_000) for _ in range(_ITEMS)]
        events = tuple(
            lanes.ClaimedEvent(first + at, 0, 0, 0, _BEGIN_MS, (lanes.digest(f"id:{p}"), lanes.digest(f"a:{p}")), b"")
            for at, p in enumerate(people)
        )
        bodies = [body_of(chance, person, first + at) for at, person in enumerate(people)]
        ids = [f"web:ajs-next-{_BEGIN_MS}-{chance.getrandbits(128):032x}" for _ in people]
        items = tuple(
            Item(first + at, 0, "trackEvent", "event", BATCH_PATH, bodies[at], ids[at]) for at in range(_ITEMS)
        )
        yield lanes.Claim(f"claim {first}", events, None, 0), Request(BATCH_PATH, items)


def write(stage: Stage, directory: Path) -> None:
    """Measure the processor time of a worker and of the ledger for an item."""
    queue = lanes.Queue(client=stage.store, name="write", cooldown_ms=0, dedupe_s=60, join_s=60)
    prepared = list(requests(random.Random(1)))
    began = time.process_time()
    for claim, request in prepared:
        recorder = Recorder(queue, claim, "segue-1@host")
        recorder.recording(lambda request: [Delivered()] * len(request.items))(request)
        recorder.write()
    recorded = time.process_time()
    files = Files(storage_of(str(directory)), "write")
    while writing.write_batch(files, queue, lambda: None, contents=True):
        pass
    written = time.process_time()
    for hour in list(files.hours()):
        files.replace(hour, hour.files, pa.concat_tables([files.table(file) for file in hour.files]))
    merged = time.process_time()
    for part, used_s in {
        "record": recorded - began,
        "write": written - recorded,
        "merge": merged - written,
    }.items():
        bench.figure(f"ledger.{part}", used_s / WRITTEN_ITEMS * 1e6, "cpu_us/item")


if __name__ == "__main__":
    parts = sys.argv[1:] or ["files", "write"]
    with tempfile.TemporaryDirectory(prefix="segue-ledger-") as name:
        if "files" in parts:
            search(Path(name) / "files")
        if "write" in parts:
            with Stage(unlimited()) as stage:
                write(stage, Path(name) / "write")
