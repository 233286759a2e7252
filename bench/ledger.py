"""What the ledger costs, and how quickly it is searched.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. `ledger.files` generates ROWS rows of thirty
days, a file for each hour as after compaction, and searches them: for a person, a message id and a request id that are
drawn by chance. `ledger.write` is the processor time of the writer for entries of a hundred items.

For the throughput, ingest, two workers and the ledger run; with the writer and without take turns. Without, the writer
is stopped, so Redis keeps what workers record.
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

import bench
import lanes
from bench.support.stage import Stage, cpu_s, stopped, unlimited
from console.local import programs
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
ROUNDS = int(os.environ.get("ROUNDS", "7"))
EVENTS = int(os.environ.get("EVENTS", "400000"))  # that take longer than it takes until the writer writes
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


def write(stage: Stage, directory: Path) -> None:
    """Measure the processor time that the writer spends on an item."""
    queue, chance = (
        lanes.Queue(client=stage.store, name="write", cooldown_ms=0, dedupe_s=60, join_s=60),
        random.Random(1),
    )
    for first in range(0, WRITTEN_ITEMS, _ITEMS):
        people = [chance.randrange(10_000) for _ in range(_ITEMS)]
        events = tuple(
            lanes.ClaimedEvent(first + at, 0, 0, 0, 0, (lanes.digest(f"id:{p}"), lanes.digest(f"a:{p}")), b"")
            for at, p in enumerate(people)
        )
        recorder = Recorder(queue, lanes.Claim(f"claim {first}", events, None, 0), "segue-1@host")
        items = tuple(
            Item(
                first + at, 0, "trackEvent", "event", BATCH_PATH, body_of(chance, p, first + at), f"web:m-{first + at}"
            )
            for at, p in enumerate(people)
        )
        recorder.recording(lambda request: [Delivered()] * len(request.items))(Request(BATCH_PATH, items))
        recorder.write()
    files, began = Files(storage_of(str(directory)), "write"), time.process_time()
    while writing.write_batch(files, queue, lambda: None, contents=True):
        pass
    bench.figure("ledger.write", WRITTEN_ITEMS / (time.process_time() - began), "items/cpu_s")


def wait_until_written(stage: Stage) -> None:
    """Wait until the writer has written everything."""
    while any(stage.store.llen(key) for key in stage.store.scan_iter("segue:*:log")):
        time.sleep(0.1)


def throughput(stage: Stage) -> None:
    """Measure the throughput with the writer and without, in turns, and what the writer uses meanwhile."""
    stage.start_segue()
    stage.supervisor.start(programs.configured("ledger", stage.environment))
    pid = stage.supervisor.pids["ledger"]
    stage.rate(stage.port, 2_000)
    written, alone, used_s = [], [], []
    for _ in range(ROUNDS):
        with stopped([pid]):
            alone.append(stage.rate(stage.port, EVENTS))
        wait_until_written(stage)
        before = cpu_s(pid)
        written.append(stage.rate(stage.port, EVENTS))
        wait_until_written(stage)
        used_s.append(cpu_s(pid) - before)
    bench.figure("ledger.throughput", median(written), "events/s", median(alone))
    bench.figure("ledger.throughput.writer", median(used_s) / EVENTS * 1e6, "cpu_us/event")


if __name__ == "__main__":
    parts = sys.argv[1:] or ["files", "write", "throughput"]
    with tempfile.TemporaryDirectory(prefix="segue-ledger-") as name:
        if "files" in parts:
            search(Path(name) / "files")
        if {"write", "throughput"} & set(parts):
            with Stage(unlimited(), SEGUE_LEDGER_DIR=str(Path(name) / "ledger")) as stage:
                if "write" in parts:
                    write(stage, Path(name) / "write")
                if "throughput" in parts:
                    throughput(stage)
