"""Rows are found by person, message id, request id and conditions: those that a scan of all rows finds."""

from __future__ import annotations

import random
import threading

import pyarrow as pa
import pytest
import redis

import lanes
from delivery import log as delivery_log
from ledger import reading
from ledger.files import Files
from ledger.reading import Wanted
from ledger.rows import Row
from ledger.storage import Storage, storage_of
from tests.ledgers import HOUR_MS, NOON_MS, QUEUE, all_rows, files_in, record, row, table_of
from tests.queues import queue_of


@pytest.fixture(scope="module", params=["directory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Rows of four hours, some of them in several files, of people with one to three keys."""
    if request.param == "s3":
        request.getfixturevalue("object_store")
    storage = storage_of("s3://ledgers/reading" if request.param == "s3" else str(tmp_path_factory.mktemp("ledger")))
    files, chance = Files(storage, QUEUE), random.Random(1)
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
    return storage


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
        Wanted(sequences=frozenset([3007, 7, 99999]), since_ms=NOON_MS),
        Wanted(text="late", since_ms=NOON_MS + HOUR_MS, until_ms=NOON_MS + 2 * HOUR_MS),
    ],
    ids=map(str, range(14)),
)
def test_the_wanted_rows_are_found_newest_first(storage: Storage, wanted: Wanted) -> None:
    expected = sorted(
        filter(wanted.includes, all_rows(storage.location)),
        key=lambda each: (each.sent_ms, each.sequence),
        reverse=True,
    )

    assert reading.find(storage, QUEUE, wanted, 100_000) == expected
    assert reading.find(storage, QUEUE, wanted, 3) == expected[:3]


def test_a_request_is_found_by_its_id(storage: Storage) -> None:
    wanted: Row = all_rows(storage.location)[777]

    assert reading.find(storage, QUEUE, Wanted(request_id=wanted.id), 9) == [wanted]
    assert reading.find(storage, QUEUE, Wanted(request_id="no ulid"), 9) == []


def test_a_search_by_person_reads_few_rows(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    of_table = reading.rows.of_table
    monkeypatch.setattr(reading.rows, "of_table", lambda table: read.append(table.num_rows) or of_table(table))

    found = reading.find(storage, QUEUE, Wanted(digests=digests("id:7")), 100_000)

    assert sum(read) == len(found) > 0


def test_no_ledger_has_no_rows(location: str) -> None:
    storage = storage_of(location)

    assert reading.find(storage, QUEUE, Wanted(), 9) == []
    assert reading.horizon(storage, QUEUE) is None


def test_the_horizon_is_the_oldest_hour(storage: Storage) -> None:
    horizon = reading.horizon(storage, QUEUE)

    assert horizon is not None
    assert (horizon.oldest_ms, horizon.files) == (NOON_MS, 12)
    assert horizon.bytes == sum(file.size for file in storage.files(f"destination={QUEUE}"))


def test_rows_are_found_once_while_their_files_are_replaced(location: str) -> None:
    files, stopping = files_in(location), threading.Event()
    for number in range(3):
        files.add(files.hour_of(NOON_MS), table_of([row(number, NOON_MS, "id:jo")]))

    def replace() -> None:
        while not stopping.wait(0.02):  # far more often than hours are merged or people erased
            hour = files.hour_of(NOON_MS)
            files.replace(hour, hour.files, pa.concat_tables([files.table(file) for file in hour.files]))

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(30):
            found = reading.find(files.storage, QUEUE, Wanted(digests=digests("id:jo")), 9)
            assert sorted(each.sequence for each in found) == [0, 1, 2]
    finally:
        stopping.set()
        writer.join()


@pytest.mark.parametrize("message_id", ["a:b", "a", "a\tb"], ids=["colon", "plain", "tab"])
def test_an_entry_that_may_have_a_wanted_row_is_not_passed_over(redis_client: redis.Redis, message_id: str) -> None:
    """Entries that are not in a file yet are looked at before their items are read."""
    record(redis_client, message_id, ["jo"], start=12)
    (entry,) = delivery_log.all_entries(queue_of(redis_client, QUEUE))

    for wanted in (
        Wanted(),
        Wanted(digests=digests("id:jo")),
        Wanted(message_id=f"{message_id}-0"),
        Wanted(message_id=f"web:{message_id}-0"),
        Wanted(sequences=frozenset([12])),
        Wanted(request_id=entry.id),
    ):
        assert wanted.may_be_in(entry)
    assert not Wanted(digests=digests("id:al")).may_be_in(entry)
    assert not Wanted(sequences=frozenset([13])).may_be_in(entry)
    assert not Wanted(request_id="other").may_be_in(entry)
