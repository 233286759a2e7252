"""The process of `segue ledger` writes what workers recorded, removes people, and survives what fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from zstandard import ZstdDecompressor, ZstdError

import lanes
import mapping
from console import forget
from console.configured import Configured
from console.ledger import process
from console.ledger.process import Ledger
from delivery import log as delivery_log
from delivery.recording import ledger
from ledger.files import Files
from ledger.owner import Owner
from ledger.storage import storage_of
from logs import events as log
from privacy import erasure, receipts
from privacy.purge import ErasureContext
from settings import Settings
from tests import ledgers
from tests.ledgers import QUEUE, all_rows, record
from tests.logged import logged
from tests.queues import queue_of

DESTINATION = mapping.destinations({"destinations": {QUEUE: {"site_id": "s", "api_key": "k"}}})[QUEUE]
ZSTD = b"\x28\xb5\x2f\xfd"
Tick = Callable[[], None]


@pytest.fixture
def tick(redis_client: redis.Redis, tmp_path: Path, location: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tick]:
    """Let the process do everything once."""
    file = tmp_path / "segue.toml"
    file.write_text(f'[destinations.{QUEUE}]\nsite_id = "s"\napi_key = "k"\n')
    monkeypatch.setenv("SEGUE_CONFIG", str(file))
    monkeypatch.setenv("SEGUE_LEDGER_DIR", location)
    settings, storage = Settings.load(), storage_of(location)
    with Owner(redis_client, storage) as owner:
        kept = Ledger(redis_client, settings, Configured(redis_client, settings, "ledger"), storage, owner)
        yield lambda: kept.tick(threading.Event(), is_last=True)


def person(user: str) -> mapping.Person:
    return mapping.Person((user,), (), ())


def content_of(location: str) -> bytes:
    """Every byte of every file, and of what is compressed in them."""
    storage = storage_of(location)
    contents = [storage.read(file.name) for file in storage.files("") if file.size]
    return b"\n".join([*contents, *(text for content in contents for text in decompressed(content))])


def decompressed(content: bytes) -> Iterator[bytes]:
    at = content.find(ZSTD)
    while at >= 0:
        with suppress(ZstdError):
            yield ZstdDecompressor().decompressobj().decompress(content[at:])
        at = content.find(ZSTD, at + 1)


def test_what_workers_recorded_is_written_and_told(redis_client: redis.Redis, tick: Tick, location: str) -> None:
    tick()
    assert ledger.is_kept(queue_of(redis_client, QUEUE))
    record(redis_client, "a", ["jo", "al"])
    record(redis_client, "b", ["jo"], start=3)

    tick()

    state = ledger.read(queue_of(redis_client, QUEUE))
    assert state is not None
    assert (state.entries, state.discarded) == (2, 0)
    assert sorted(row.sequence for row in all_rows(location)) == [1, 2, 3]
    assert ledger.runs(queue_of(redis_client, QUEUE))


def test_a_person_is_removed_from_every_file_by_byte_search(
    redis_client: redis.Redis, tick: Tick, location: str
) -> None:
    """No file and no index has the identity, its digest, or the message ids."""
    tick()
    for number in range(5):
        record(redis_client, f"jo-mueller-{number}", ["jo-mueller-4711"], start=10 * number)
        record(redis_client, f"both-{number}", ["al", "jo-mueller-4711"], start=10 * number + 1)
        if number < 4:
            tick()
    queue, digest = queue_of(redis_client, QUEUE), lanes.digest("id:jo-mueller-4711")
    before = content_of(location)
    assert b"jo-mueller-4711" in before
    assert digest[::-1] in before, "an index has the digest, little-endian"

    receipt, _ = erasure.erase(ErasureContext(queue, DESTINATION), person("jo-mueller-4711"), "tests")
    assert receipt.state == "ledger"
    tick()

    after = content_of(location)
    for trace in (b"jo-mueller", b"both-1-1", digest[::-1], digest, digest.hex().encode()):
        assert trace not in after
    assert [row.digests for row in all_rows(location)] == [(lanes.digest("id:al").hex(),)] * 5
    finished = receipts.read(queue, receipt.id)
    assert finished is not None
    assert (finished.state, finished.removed["ledger"], finished.removed["log"]) == ("done", 8, 2)
    assert len(finished.files) == 4
    assert all(name.startswith(f"destination={QUEUE}/day=") for name in finished.files)
    assert ledger.erasures(queue) == []


def test_a_ledger_that_ends_before_it_writes_that_an_erasure_is_done_leaves_it_done(
    redis_client: redis.Redis, tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick()
    record(redis_client, "a", ["jo"])
    tick()
    queue = queue_of(redis_client, QUEUE)
    receipt, _ = erasure.erase(ErasureContext(queue, DESTINATION), person("jo"), "tests")

    def end(*_arguments: object) -> None:
        raise redis.ConnectionError("lost")

    with monkeypatch.context() as patched:
        patched.setattr(receipts, "finish", end)
        tick()
    tick()

    finished = receipts.read(queue, receipt.id)
    assert finished is not None
    assert (finished.state, finished.removed["ledger"]) == ("done", 1)


def test_a_deletion_keeps_the_rows_of_later_events(redis_client: redis.Redis, tick: Tick, location: str) -> None:
    tick()
    record(redis_client, "a", ["jo", "jo", "al"], start=1)
    tick()
    queue = queue_of(redis_client, QUEUE)
    receipts.begin(queue, "r", requested_by="tests", request="delete", digests=[])
    ledger.request_erasure(queue, "r", [lanes.digest("id:jo")], before=2)

    tick()

    assert sorted(row.sequence for row in all_rows(location)) == [2, 3]


def test_message_ids_of_removed_rows_are_accepted_again(redis_client: redis.Redis, tick: Tick) -> None:
    tick()
    queue = queue_of(redis_client, QUEUE)
    lanes.append(queue, [lanes.NewEvent(b"{}", ("id:jo",), "web:a-0", 0, counted_as='["accepted","web",""]')])
    lanes.erase(queue, [lanes.digest("id:jo")], counted_as=lambda _: '["dropped","web",""]')
    record(redis_client, "a", ["jo"])
    tick()
    assert lanes.is_remembered(queue, "web:a-0")

    erasure.erase(ErasureContext(queue, DESTINATION), person("jo"), "tests")
    tick()

    assert not lanes.is_remembered(queue, "web:a-0")


def test_forget_says_that_no_ledger_runs(
    redis_client: redis.Redis, tick: Tick, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick()
    record(redis_client, "a", ["jo"])
    tick()
    monkeypatch.setattr(ledger, "RUNS_S", -1)

    result = forget.forget(ErasureContext(queue_of(redis_client, QUEUE), DESTINATION), person("jo"), None)

    assert result["state"] == "ledger"
    assert "no ledger is running" in result["waits_for"]
    assert len(all_rows(location)) == 1


def test_without_a_ledger_an_erasure_is_done_at_once(redis_client: redis.Redis) -> None:
    queue = queue_of(redis_client, QUEUE)

    receipt, _ = erasure.erase(ErasureContext(queue, DESTINATION), person("jo"), "tests")

    assert receipt.state == "done"
    assert ledger.erasures(queue) == []


def test_what_cannot_be_written_stays_in_redis(
    redis_client: redis.Redis,
    tick: Tick,
    location: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    record(redis_client, "a", ["jo"])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Files, "add", full)
        tick()
        log.repeats.flush()
    assert redis_client.llen(lanes.keys.LOG.of(QUEUE)) == 1
    assert [line["event"] for line in logged(caplog)] == ["ledger_unwritten"]
    tick()

    assert len(all_rows(location)) == 1


def test_rows_are_kept_for_ledger_days(
    redis_client: redis.Redis, tick: Tick, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_ms = time.time_ns() // 1_000_000 - 31 * 86_400_000
    for number, at_ms in enumerate((old_ms, old_ms + 2 * 86_400_000)):
        packed = ledgers.packed_at(at_ms, number, lanes.digest("id:jo").hex())
        redis_client.lpush(lanes.keys.LOG.of(QUEUE), packed)
    monkeypatch.setattr(process, "_TIDY_S", 0)

    tick()
    tick()

    assert [row.sequence for row in all_rows(location)] == [1]


def test_only_a_ledger_makes_the_log_keep_more_than_its_number(redis_client: redis.Redis, tick: Tick) -> None:
    queue = queue_of(redis_client, QUEUE)
    for number in range(5):
        record(redis_client, f"c{number}", ["jo"], start=number + 1)
    assert delivery_log.trim(queue, 3, 1) == (False, 0)
    assert redis_client.llen(lanes.keys.LOG.of(QUEUE)) == 3
    tick()
    for number in range(5):
        record(redis_client, f"d{number}", ["jo"], start=number + 1)

    assert delivery_log.trim(queue, 3, 1) == (True, 0)

    assert redis_client.llen(lanes.keys.LOG.of(QUEUE)) == 5


def test_what_redis_has_no_room_for_is_counted(
    redis_client: redis.Redis, tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick()
    queue = queue_of(redis_client, QUEUE)
    for number in range(50):
        record(redis_client, f"c{number}", ["jo"], start=number + 1)
    used = redis_client.memory_usage(lanes.keys.LOG.of(QUEUE), samples=0)
    monkeypatch.setattr(delivery_log, "LEDGER_BYTES", used // 5)

    has_ledger, discarded = delivery_log.trim(queue, 2000, 1)

    state = ledger.read(queue)
    assert state is not None
    assert has_ledger
    left = redis_client.llen(lanes.keys.LOG.of(QUEUE))
    assert discarded == state.discarded == 50 - left
    assert 8 <= left <= 12
    assert state.discarded_ms > 0
