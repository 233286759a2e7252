"""Rows are found by person, message id, request id and conditions: those that a scan of all rows finds."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

import lanes
from ledger import compaction, reading
from ledger.files import Files
from ledger.reading import Wanted
from ledger.rows import Row
from tests.ledgers import HOUR_MS, NOON_MS, QUEUE, all_rows, row, table_of


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of four hours, some of them in several files, of people with one to three keys."""
    path, chance = tmp_path_factory.mktemp("ledger"), random.Random(1)
    files = Files(path, QUEUE)
    for number in range(12):
        at_ms = NOON_MS + number // 3 * HOUR_MS
        rows = []
        for each in range(300):
            keys = [f"id:{chance.randrange(50)}", f"email:{chance.randrange(50)}@x.com", f"anonymous_id:{each}"]
            outcome = chance.choice(["delivered", "rejected", "filtered"])
            reason = None if outcome == "delivered" else chance.choice(["No such person", "too late"])
            sent_ms = at_ms + chance.randrange(HOUR_MS)
            chosen = keys[: chance.randint(1, 3)]
            rows.append(row(1000 * number + each, sent_ms, *chosen, outcome=outcome, reason=reason))
        files.add(files.hour_of(at_ms), table_of(rows))
    return path


def digests(*keys: str) -> frozenset[str]:
    return frozenset(lanes.digest(key).hex() for key in keys)


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(digests=digests("id:7")),
        Wanted(digests=digests("email:7@x.com", "id:9")),
        Wanted(digests=digests("id:7"), outcomes=frozenset(["rejected"]), since_ms=NOON_MS + HOUR_MS + 5),
        Wanted(digests=digests("id:none")),
        Wanted(message_id="m5123"),
        Wanted(message_id="web:m5123"),
        Wanted(message_id="other:m5123"),
        Wanted(message_id="m5123", digests=digests("id:none")),
        Wanted(outcomes=frozenset(["filtered", "dead"]), text="NO SUCH"),
        Wanted(source="web", until_ms=NOON_MS + 90 * 60_000),
        Wanted(source="other"),
        Wanted(text="late", since_ms=NOON_MS + HOUR_MS, until_ms=NOON_MS + 2 * HOUR_MS),
    ],
    ids=map(str, range(13)),
)
def test_the_wanted_rows_are_found_newest_first(directory: Path, wanted: Wanted) -> None:
    expected = sorted(
        filter(wanted.includes, all_rows(directory)), key=lambda each: (each.sent_ms, each.sequence), reverse=True
    )

    assert reading.find(directory, QUEUE, wanted, 100_000) == expected
    assert reading.find(directory, QUEUE, wanted, 3) == expected[:3]


def test_a_request_is_found_by_its_id(directory: Path) -> None:
    wanted: Row = all_rows(directory)[777]

    assert reading.find(directory, QUEUE, Wanted(request_id=wanted.id), 9) == [wanted]
    assert reading.find(directory, QUEUE, Wanted(request_id="no ulid"), 9) == []


def test_a_search_by_person_reads_few_rows(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    of_table = reading.rows.of_table
    monkeypatch.setattr(reading.rows, "of_table", lambda table: read.append(table.num_rows) or of_table(table))

    found = reading.find(directory, QUEUE, Wanted(digests=digests("id:7")), 100_000)

    assert sum(read) == len(found) > 0


def test_no_ledger_has_no_rows(tmp_path: Path) -> None:
    assert reading.find(tmp_path / "none", QUEUE, Wanted(), 9) == []
    assert reading.horizon(tmp_path / "none", QUEUE) is None


def test_the_horizon_is_the_oldest_hour(directory: Path) -> None:
    horizon = reading.horizon(directory, QUEUE)

    assert horizon is not None
    assert (horizon.oldest_ms, horizon.files) == (NOON_MS, 12)
    assert horizon.bytes == sum(path.stat().st_size for path in directory.rglob("hour=*/*"))


def test_rows_are_found_once_while_their_files_are_replaced(tmp_path: Path) -> None:
    files = Files(tmp_path, QUEUE)
    hour, stopping = files.hour_of(NOON_MS), threading.Event()
    for number in range(3):
        files.add(hour, table_of([row(number, NOON_MS, "id:jo")]))

    def replace() -> None:
        while not stopping.is_set():
            found = hour.files()
            files.replace(hour, found, compaction.pa.concat_tables([file.table() for file in found]))

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(100):
            found = reading.find(tmp_path, QUEUE, Wanted(digests=digests("id:jo")), 9)
            assert sorted(each.sequence for each in found) == [0, 1, 2]
    finally:
        stopping.set()
        writer.join()
