"""Entries of the delivery log move to files: each once, also when the process fails in between."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import redis

import lanes
from delivery import log as delivery_log
from delivery.outcomes import Delivered, Rejected, Response
from ledger import writing
from ledger.files import Files
from tests.ledgers import HOUR_MS, NOON_MS, QUEUE, all_rows, files_in, no_check, packed_at, record
from tests.queues import queue_of

LOG = lanes.keys.LOG.of(QUEUE)


def write(client: redis.Redis, location: str, *, contents: bool = True) -> int:
    return writing.write_batch(files_in(location), queue_of(client, QUEUE), no_check, contents=contents)


def test_a_row_has_the_item_its_times_and_its_answer(redis_client: redis.Redis, location: str) -> None:
    record(redis_client, "a", ["jo", "al"], [Delivered(), Rejected("no such person", Response(207, "", 1))])
    (entry,) = delivery_log.all_entries(queue_of(redis_client, QUEUE))

    assert write(redis_client, location) == 1

    delivered, rejected = sorted(all_rows(location), key=lambda row: row.sequence)
    assert (delivered.outcome, delivered.reason, rejected.outcome, rejected.reason) == (
        *("delivered", None),
        *("rejected", "no such person"),
    )
    assert (delivered.source, delivered.message_id, delivered.path) == ("web", "a-0", "/api/v2/batch")
    assert delivered.digests == (lanes.digest("id:jo").hex(),)
    assert delivered.body == '{"identifiers":{"id":"jo"},"name":"a-0"}'
    assert (delivered.accepted_ms, delivered.worker, delivered.id) == (NOON_MS, "worker", entry.id)
    assert (delivered.claimed_ms, delivered.sent_ms, delivered.responded_ms) == (
        entry.claimed_ms,
        entry.sent_ms,
        entry.responded_ms,
    )
    assert redis_client.llen(LOG) == 0
    assert write(redis_client, location) == 0


def test_decisions_have_the_fate_and_the_reason(redis_client: redis.Redis, location: str) -> None:
    queue = queue_of(redis_client, QUEUE)
    event = lanes.ClaimedEvent(7, 0, 0, 0, NOON_MS, (lanes.digest("id:jo"),), b"")
    recorder = delivery_log.Recorder(queue, lanes.Claim("c", (event,), None, 0), "worker")
    recorder.decide(7, "web:a:b", '["dead","web","invalid"]', "no url")
    recorder.write()

    write(redis_client, location)

    (row,) = all_rows(location)
    assert (row.outcome, row.reason, row.message_id, row.path, row.body) == (
        "dead",
        "invalid: no url",
        "a:b",
        None,
        None,
    )
    assert row.responded_ms is None


def test_without_contents_no_file_has_a_body_or_a_text(redis_client: redis.Redis, location: str) -> None:
    record(redis_client, "a", ["jo"], [Rejected("no such person", Response(400, ""))])

    write(redis_client, location, contents=False)

    (row,) = all_rows(location)
    assert (row.body, row.reason, row.outcome) == (None, None, "rejected")


def test_what_fails_after_the_files_were_written_is_not_written_twice(
    redis_client: redis.Redis, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        record(redis_client, f"c{number}", ["jo", "al"], start=1 + 2 * number)

    with monkeypatch.context() as patch:
        patch.setattr(delivery_log, "discard_written", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(redis_client, location)
    record(redis_client, "later", ["jo"], start=100)
    write(redis_client, location)

    assert Counter(row.sequence for row in all_rows(location)) == Counter([*range(1, 11), 100])
    assert redis_client.llen(LOG) == 0


def test_what_fails_between_two_files_is_written_once(
    redis_client: redis.Redis, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        redis_client.lpush(LOG, packed_at(NOON_MS + number * HOUR_MS, number, lanes.digest("id:jo").hex()))
    add, added = Files.add, []

    def failing(self: Files, *arguments: object) -> object:
        if len(added) == 2:
            raise OSError("the disk is full")
        added.append(1)
        return add(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Files, "add", failing)
        with pytest.raises(OSError, match="full"):
            write(redis_client, location)
    assert redis_client.llen(LOG) == 4
    write(redis_client, location)

    assert sorted(row.sequence for row in all_rows(location)) == [0, 1, 2, 3]
    assert [hour.starts_ms for hour in files_in(location).hours()] == [NOON_MS + n * HOUR_MS for n in (3, 2, 1, 0)]


def test_an_entry_that_is_there_twice_is_written_once(redis_client: redis.Redis, location: str) -> None:
    """A client that loses the reply to a write repeats it."""
    entries = [packed_at(NOON_MS, number, lanes.digest("id:jo").hex()) for number in range(3)]
    redis_client.lpush(LOG, *entries)
    redis_client.lpush(LOG, *entries)

    write(redis_client, location)

    assert sorted(row.sequence for row in all_rows(location)) == [0, 1, 2]
    assert redis_client.llen(LOG) == 0


@pytest.mark.parametrize("damaged", [b"", b"x", b"1700000000000(\xb5/\xfd", bytes(range(100))])
def test_a_damaged_entry_is_left_out(redis_client: redis.Redis, location: str, damaged: bytes) -> None:
    record(redis_client, "a", ["jo"])
    redis_client.lpush(LOG, damaged)
    record(redis_client, "b", ["al"], start=2)

    write(redis_client, location)

    assert sorted(row.sequence for row in all_rows(location)) == [1, 2]
    assert redis_client.llen(LOG) == 0


def test_what_is_recorded_meanwhile_stays(
    redis_client: redis.Redis, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(redis_client, "a", ["jo"])
    add = Files.add

    def recording(self: Files, *arguments: object) -> object:
        record(redis_client, "b", ["al"], start=2)
        return add(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Files, "add", recording)
        write(redis_client, location)

    assert [
        item.sequence for entry in delivery_log.all_entries(queue_of(redis_client, QUEUE)) for item in entry.items
    ] == [2]
    write(redis_client, location)
    assert sorted(row.sequence for row in all_rows(location)) == [1, 2]


def test_an_erasure_while_a_batch_is_written_does_not_stop_the_removal(
    redis_client: redis.Redis, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry keeps its id without the person's items; the ledger removes the person's rows afterwards."""
    record(redis_client, "a", ["jo", "al"])
    record(redis_client, "b", ["jo"], start=3)
    queue, add = queue_of(redis_client, QUEUE), Files.add

    def erasing(self: Files, *arguments: object) -> object:
        delivery_log.remove(queue, lambda _, digests: lanes.digest("id:jo") in digests)
        return add(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Files, "add", erasing)
    write(redis_client, location)

    assert redis_client.llen(LOG) == 0
    assert sorted(row.sequence for row in all_rows(location)) == [1, 2, 3]


@pytest.mark.parametrize("text", ["a\tb", "a\nb", "a\\tb", "a\r\n\\", "a:b", 'a"b', "ü\u2028"], ids=range(7))
def test_ids_and_reasons_are_written_as_they_are(redis_client: redis.Redis, tmp_path: Path, text: str) -> None:
    """The values of an entry are separated by tabs and ends of lines, which a sender's id may have as well."""
    record(redis_client, text, ["jo", "al"], [Delivered(), Rejected(f"no {text}", Response(400, ""))])
    record(redis_client, "plain", ["jo"], start=3)
    (_, rejected), _ = (
        entry.items for entry in reversed(list(delivery_log.all_entries(queue_of(redis_client, QUEUE))))
    )
    assert (rejected.message_id, rejected.reason, rejected.outcome) == (f"web:{text}-1", f"no {text}", "rejected")

    write(redis_client, str(tmp_path))

    rows = sorted(all_rows(tmp_path), key=lambda row: row.sequence)
    assert [(row.source, row.message_id, row.reason) for row in rows] == [
        ("web", f"{text}-0", None),
        ("web", f"{text}-1", f"no {text}"),
        ("web", "plain-0", None),
    ]
    assert all(row.body for row in rows)


@pytest.mark.parametrize("contents", [True, False])
def test_a_decision_may_have_no_reason_and_no_text(redis_client: redis.Redis, tmp_path: Path, contents: bool) -> None:
    queue = queue_of(redis_client, QUEUE)
    events = tuple(lanes.ClaimedEvent(number, 0, 0, 0, NOON_MS, (), b"") for number in range(4))
    recorder = delivery_log.Recorder(queue, lanes.Claim("c", events, None, 0), "worker")
    for number, (reason, text) in enumerate([("", None), ("", "text"), ("reason", None), ("reason", "text")]):
        recorder.decide(number, f"web:{number}", f'["dead","web","{reason}"]', text)
    recorder.write()

    write(redis_client, str(tmp_path), contents=contents)

    reasons = [row.reason for row in sorted(all_rows(tmp_path), key=lambda row: row.sequence)]
    assert reasons == ([None, "text", "reason", "reason: text"] if contents else [None, None, "reason", "reason"])
    assert {row.digests for row in all_rows(tmp_path)} == {()}
