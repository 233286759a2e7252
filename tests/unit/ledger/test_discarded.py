"""Events that leave the queue without a worker have a row with their fate and the reason, if any may be kept."""

from __future__ import annotations

import pytest
import redis

import lanes
import mapping
from console.dead import listing
from console.queues import waiting
from dead_letters.query import Filter
from dead_letters.record import FailureRecord, Reason
from delivery.recording import ledger
from ledger import writing
from ledger.rows import Row
from mapping.envelope import pack
from privacy import erasure
from privacy.purge import ErasureContext
from tests.ledgers import QUEUE, all_rows, files_in, no_check
from tests.queues import queue_of

DESTINATION = mapping.destinations({"destinations": {QUEUE: {"site_id": "s", "api_key": "k"}}})[QUEUE]
PERSON = mapping.Person(("jo",), (), ())


@pytest.fixture
def queue(redis_client: redis.Redis) -> lanes.Queue:
    """A queue with a ledger, and with one waiting event of Jo."""
    queue = queue_of(redis_client, QUEUE)
    ledger.report_seen(queue)
    event = {"type": "track", "event": "Bought", "userId": "jo", "messageId": "m1"}
    lanes.append(queue, [lanes.NewEvent(pack("web", event), ("id:jo",), "web:m1")])
    return queue


def rows_of(queue: lanes.Queue, location: object) -> list[Row]:
    writing.write_batch(files_in(str(location)), queue, no_check, contents=True)
    return all_rows(str(location))


def facts(row: Row) -> tuple[object, ...]:
    return row.sequence, row.outcome, row.reason, row.source, row.message_id, row.digests, row.path, row.body


def test_an_event_that_an_operator_discards_is_dropped(queue: lanes.Queue, tmp_path: object) -> None:
    assert waiting.skip(queue, 1) == "is discarded"

    (row,) = rows_of(queue, tmp_path)
    assert facts(row) == (1, "dropped", "discarded", "web", "m1", (lanes.digest("id:jo").hex(),), None, None)
    assert row.accepted_ms <= row.sent_ms


@pytest.mark.parametrize(
    ("action", "reason"), [("delete", "before a deletion"), ("suppress", "suppressed")], ids=["delete", "suppress"]
)
def test_an_event_before_a_privacy_request_is_dropped(
    queue: lanes.Queue, tmp_path: object, action: mapping.PrivacyAction, reason: str
) -> None:
    erasure.request(ErasureContext(queue, DESTINATION), PERSON, action, "tests")

    (row,) = rows_of(queue, tmp_path)
    assert facts(row)[:5] == (1, "dropped", reason, "web", "m1")


def test_a_dead_letter_that_an_operator_discards_is_discarded(queue: lanes.Queue, tmp_path: object) -> None:
    claim = lanes.claim(queue, lease_ms=1000, max_events=1, max_bytes=10**6, max_depth=0, poll_ms=0)
    failure = FailureRecord(reason=Reason.INVALID, message="no url", faults=(), buried_at_ms=1).to_bytes()
    lanes.settle(queue, claim.id, buried=[lanes.Burial(1, failure, blocks=True)])

    assert listing.discard(queue, Filter()) == 1

    (row,) = rows_of(queue, tmp_path)
    assert facts(row)[:5] == (1, "discarded", None, "web", "m1")


def test_an_event_that_is_erased_with_its_person_leaves_no_row(queue: lanes.Queue, tmp_path: object) -> None:
    erasure.erase(ErasureContext(queue, DESTINATION), PERSON, "tests")

    assert rows_of(queue, tmp_path) == []


def test_a_body_that_cannot_be_read_has_a_row_all_the_same(queue: lanes.Queue, tmp_path: object) -> None:
    lanes.append(queue, [lanes.NewEvent(b"damaged", ("id:al",), "web:m2")])

    waiting.skip(queue, 2)

    (row,) = rows_of(queue, tmp_path)
    assert facts(row)[:5] == (2, "dropped", "discarded", "", "")


def test_without_a_ledger_nothing_is_recorded(queue: lanes.Queue) -> None:
    queue.client.delete(lanes.keys.LEDGER.of(QUEUE))

    waiting.skip(queue, 1)

    assert queue.client.llen(lanes.keys.LOG.of(QUEUE)) == 0
