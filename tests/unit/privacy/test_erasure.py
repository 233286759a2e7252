"""Erasure at the workers: no privacy request is lost, edited dead letters are found, merged identities are erased."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakeredis
import orjson
import pytest
import redis
from redis.client import Pipeline

import lanes
import mapping
from dead_letters import query, record, spill_files
from dead_letters.record import FailureRecord, Line, Reason, RequeueRecord
from delivery import identity_memory
from delivery import log as delivery_log
from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome
from delivery.recording import ledger
from lanes.keys import base
from mapping.envelope import JsonObject, Unpacked, pack
from privacy import erasure, purge, receipts
from tests.claims import deliver_events
from tests.queues import queue_of
from tests.secrets import CREDENTIALS
from tests.unit.workers.test_claim import QUEUE, Service, deliver
from workers.lease import Lease

DESTINATION = mapping.destinations({"destinations": {QUEUE: CREDENTIALS}})[QUEUE]
JO = mapping.Person(("jo",))


def context(client: redis.Redis, spill_dir: Path | None = None) -> purge.ErasureContext:
    return purge.ErasureContext(queue_of(client, QUEUE), DESTINATION, spill_dir)


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


def append(client: redis.Redis, name: str, source: str = "web", **event: object) -> int:
    body = {"type": "track", "event": name, "messageId": name, **event}
    info = mapping.ordering_info(body, DESTINATION)
    entry = lanes.NewEvent(pack(source, body), info.keys, f"{source}:{name}", join=info.join)
    return lanes.append(queue_of(client, QUEUE), [entry]).last


def sent(client: redis.Redis) -> list[str]:
    """Deliver everything; return the operations that were sent, as `action identifiers`."""
    operations: list[str] = []

    def send(request: Request) -> list[Outcome]:
        bodies = [orjson.loads(item.data) for item in request.items]
        operations.extend(f"{body['action']} {orjson.dumps(body.get('identifiers')).decode()}" for body in bodies)
        return [Delivered()] * len(bodies)

    while deliver(client, DESTINATION, send).events:
        pass
    return operations


def finish_all(client: redis.Redis) -> None:
    erasure.finish(context(client))


def remove(client: redis.Redis, spill_dir: Path | None = None, before: int | None = None) -> purge.Removed:
    """Remove Jo."""
    (removed,) = purge.purge(context(client, spill_dir), [(JO, before)])
    removed.counts += purge.erase_merges(context(client, spill_dir), removed)
    return removed


def test_a_waiting_privacy_request_survives_the_next_one(client: redis.Redis) -> None:
    append(client, "unsent", userId="jo")
    first, _ = erasure.request(context(client), JO, "suppress", "op")
    append(client, "unsent too", userId="jo")

    second, _ = erasure.request(context(client), JO, "delete", "op")

    assert (first.removed["events"], second.removed["events"]) == (1, 2)
    assert sent(client) == ['delete {"id":"jo"}', 'suppress {"id":"jo"}']
    finish_all(client)
    states = {receipt.id: (receipt.request, receipt.state) for receipt in receipts.history(queue_of(client, QUEUE))}
    assert states == {first.id: ("suppress", "done"), second.id: ("delete", "done")}
    assert lanes.stats(queue_of(client, QUEUE)).waiting == 0


def test_a_deletion_request_of_segment_discards_earlier_events_and_keeps_later_ones(client: redis.Redis) -> None:
    append(client, "before", userId="jo")
    request = append(client, "d1", type="delete", userId="jo")
    append(client, "after", userId="jo", timestamp="2199-01-01T00:00:00Z")

    discarded = erasure.discard(context(client), request)
    assert discarded is not None
    assert discarded.counts == {"events": 1, "message_ids": 1}
    assert sent(client) == ['delete {"id":"jo"}', 'event {"id":"jo"}']
    finish_all(client)

    assert erasure.discard(context(client), request) is None
    (receipt,) = receipts.history(queue_of(client, QUEUE))
    assert (receipt.requested_by, receipt.request, receipt.state) == ("source web", "delete", "done")
    assert receipt.removed["events"] == 1
    assert receipts.person_of(queue_of(client, QUEUE), receipt.id) is None


def test_merged_identities_are_the_same_person(client: redis.Redis) -> None:
    merge_old(client)
    append(client, "late", userId="old")
    append(client, "other", userId="al")

    removed = remove(client)

    assert removed.counts == {"events": 1, "message_ids": 1, "merged": 1}
    assert sent(client) == ['event {"id":"al"}']


def test_attribute_clocks_are_erased_with_the_addresses_that_belong_to_the_person(client: redis.Redis) -> None:
    for user in ("jo", "al"):
        append(client, f"update {user}", type="identify", userId=user, traits={"email": f"{user}@example.com"})
    sent(client)
    (clocks,) = client.keys(f"{base(QUEUE)}:attribute_clocks:*")

    removed = remove(client)

    assert removed.counts["attribute_clocks"] == 2
    stored = client.hgetall(clocks)
    assert set(stored) == {lanes.digest("id:al"), lanes.digest("email:al@example.com")}
    assert stored[lanes.digest("email:al@example.com")] == lanes.digest("id:al")


def record_item(client: redis.Redis) -> None:
    """Deliver an update of Jo, and record it in the delivery log."""
    claimed_item(client)()


def claimed_item(client: redis.Redis) -> Callable[[], object]:
    """Claim an update of Jo. Return a function that delivers it, and records it in the delivery log."""
    append(client, "update", type="identify", userId="jo", anonymousId="an", traits={"email": "Jo@example.com"})
    claim = lanes.claim(queue_of(client, QUEUE), lease_ms=60_000, max_events=9, max_bytes=10**6, max_depth=9, poll_ms=0)
    recorder = delivery_log.Recorder(queue_of(client, QUEUE), claim, "worker")
    send = recorder.recording(lambda request: [Delivered()] * len(request.items))
    queue = queue_of(client, QUEUE)
    lease = Lease(queue=queue, claim_id=claim.id, lease_ms=60_000, requested_at=time.monotonic())
    return lambda: deliver_events(claim, queue, DESTINATION, send, lease=lease, before_settling=recorder.write)


def merge_old(client: redis.Redis) -> None:
    """Remember that the person `old` was merged into Jo."""
    merge = {"type": "person", "action": "merge", "primary": {"id": "jo"}, "secondary": {"id": "old"}}
    identity_memory.remember(queue_of(client, QUEUE), [identity_memory.Change("merge", merge, 1)], "email_or_id")


def test_what_is_in_progress_of_a_merged_identity_is_erased_too(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The erasure waits for the end of the claim, and still knows then who was merged."""
    merge_old(client)
    settle, settled = claimed_item(client), list[object]()
    monkeypatch.setattr(time, "sleep", lambda _s: settled.append(settle()))

    receipt, _ = erasure.erase(context(client), mapping.Person(("old",)), "op")

    assert len(settled) == 1
    assert {kind: receipt.removed[kind] for kind in ("events", "log", "merged")} == {"events": 1, "log": 1, "merged": 1}
    assert not list(delivery_log.all_entries(queue_of(client, QUEUE)))


def test_an_erasure_that_ends_at_any_write_is_complete_when_it_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = 0
    while interrupted(commands, monkeypatch):
        commands += 1
    assert commands > 20


def interrupted(after: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Erase `old` with a connection that is lost after so many commands, and repeat it. Return whether it was lost."""
    client = fakeredis.FakeStrictRedis()
    merge_old(client)
    record_item(client)
    queue, old = queue_of(client, QUEUE), mapping.Person(("old",))
    ledger.report_seen(queue)
    left = itertools.count(after, -1)

    def losing(run: Callable[..., Any]) -> Callable[..., Any]:
        def command(*arguments: Any, **options: Any) -> Any:
            if next(left) <= 0:
                raise redis.ConnectionError("lost")
            return run(*arguments, **options)

        return command

    with monkeypatch.context() as patched:
        patched.setattr(redis.Redis, "execute_command", losing(redis.Redis.execute_command))
        patched.setattr(Pipeline, "execute", losing(Pipeline.execute))
        try:
            erasure.erase(context(client), old, "op")
        except redis.ConnectionError:
            is_lost = True
        else:
            is_lost = False
    erasure.erase(context(client), old, "op")

    assert not list(delivery_log.all_entries(queue))
    asked = frozenset[str]().union(*(each.digests for each in ledger.erasures(queue)))
    assert asked == {lanes.digest(key).hex() for key in ("id:old", "id:jo")}, "of the rows of both"
    assert not lanes.remembered_hashes(queue).get("merged")
    return is_lost


def test_a_receipt_that_was_begun_before_a_crash_is_completed(client: redis.Redis) -> None:
    queue = queue_of(client, QUEUE)
    request = append(client, "d1", type="delete", userId="jo")
    erasure.discard(context(client), request)
    (receipt,) = receipts.history(queue)
    client.delete(f"{base(QUEUE)}:receipts")
    client.hdel(f"{base(QUEUE)}:receipt:{receipt.id}", "state", "hashes", "request", "requested_by")

    sent(client)
    finish_all(client)

    (again,) = receipts.history(queue)
    assert (again.id, again.hashes, again.requested_by, again.state) == (
        receipt.id,
        receipt.hashes,
        "source web",
        "done",
    )


def test_the_log_names_other_people(client: redis.Redis) -> None:
    record_item(client)

    removed = remove(client)

    assert removed.counts["log"] == 1
    assert removed.others == {"email:jo@example.com", "anonymous_id:an"}


def test_an_edited_dead_letter_is_found_by_its_contents(client: redis.Redis) -> None:
    append(client, "bad", type="page", userId="al", properties={})
    deliver(client, DESTINATION, Service())
    (stored,) = lanes.list_dead_letters(queue_of(client, QUEUE))
    dead_letter = record.read(stored)
    assert remove(client).counts == {}
    query.edit(queue_of(client, QUEUE), dead_letter, dead_letter.event | {"userId": "jo"})

    assert remove(client).counts == {"dead_letters": 1, "message_ids": 1}
    assert lanes.list_dead_letters(queue_of(client, QUEUE)) == []


@pytest.mark.parametrize(
    ("user_id", "person"),
    [
        ("Jo@Example.com", mapping.Person((), ("jo@example.com",))),
        (42, mapping.Person(("42",))),
        ([7], mapping.Person(("7",))),
    ],
)
def test_an_edited_dead_letter_is_found_by_every_spelling(
    client: redis.Redis, user_id: Any, person: mapping.Person
) -> None:
    append(client, "bad", type="page", userId="al", properties={})
    deliver(client, DESTINATION, Service())
    (stored,) = lanes.list_dead_letters(queue_of(client, QUEUE))
    dead_letter = record.read(stored)
    query.edit(queue_of(client, QUEUE), dead_letter, dead_letter.event | {"userId": user_id})

    (removed,) = purge.purge(context(client), [(person, None)])

    assert removed.counts["dead_letters"] == 1


def test_a_spilled_dead_letter_is_found_by_the_mapping_of_its_burial(client: redis.Redis, tmp_path: Path) -> None:
    """The mapping is often corrected after it made dead letters."""
    event = {"type": "track", "event": "x", "anonymousId": "an", "properties": {"customer": "jo"}}
    failure = FailureRecord(reason=Reason.INVALID, message="no", faults=(), buried_at_ms=1, keys=("id:jo",))
    line = Line(source="web", event=event, failure=failure, sequence=1)
    spill_files.finish(spill_files.write(tmp_path, QUEUE, [line.to_bytes()]), [1])

    assert remove(client, tmp_path).counts == {"spilled": 1}
    assert spill_files.files(tmp_path, QUEUE) == []


def test_a_person_s_lines_leave_the_spill_files_and_the_others_stay(client: redis.Redis, tmp_path: Path) -> None:
    events = [{"type": "track", "event": "x", "userId": user} for user in ("jo", "al", "jo", "al")]
    failure = FailureRecord(reason=Reason.INVALID, message="no url", faults=(), buried_at_ms=1)
    lines = [Line(source="web", event=event, failure=failure, sequence=n) for n, event in enumerate(events, start=1)]
    lines[3].requeued = RequeueRecord(original=events[0])
    spill_files.finish(spill_files.write(tmp_path, QUEUE, (line.to_bytes() for line in lines)), range(5))

    assert remove(client, tmp_path, before=3).counts == {"spilled": 1}
    assert remove(client, tmp_path).counts == {"spilled": 2}
    (file,) = spill_files.files(tmp_path, QUEUE)
    assert [orjson.loads(line)["event"]["userId"] for line in spill_files.read(file)] == ["al"]


def test_dead_letters_are_removed_while_no_worker_moves_any_to_a_file(client: redis.Redis) -> None:
    """Otherwise a dead letter could leave Redis for a file that was searched already."""
    append(client, "bad", type="page", userId="jo", properties={})
    deliver(client, DESTINATION, Service())
    client.set(f"{base(QUEUE)}:spill:lock", "a worker", px=300)

    assert remove(client).counts["dead_letters"] == 1
    assert not client.exists(f"{base(QUEUE)}:spill:lock")


def test_dead_letters_are_searched_again_when_the_lock_is_lost(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may have moved some to a file meanwhile."""
    append(client, "bad", type="page", userId="jo", properties={})
    append(client, "late", type="page", userId="jo", properties={})
    deliver(client, DESTINATION, Service())
    lock, searches = f"{base(QUEUE)}:spill:lock", list[int]()
    list_dead_letters = lanes.list_dead_letters

    def losing_the_lock_at_first(queue: lanes.Queue, *, after: int) -> list[lanes.DeadLetter]:
        searches.append(after)
        if len(searches) == 1:
            client.set(lock, "a worker", px=100)
        return list_dead_letters(queue, after=after)

    monkeypatch.setattr(lanes, "list_dead_letters", losing_the_lock_at_first)
    removed = remove(client)

    assert removed.counts["dead_letters"] == 2, "each is counted once"
    assert searches[:2] == [0, 0]
    assert not client.exists(lock)


def test_an_event_that_was_erased_while_claimed_is_not_sent_again(client: redis.Redis) -> None:
    append(client, "dies", userId="jo")
    claim = lanes.claim(queue_of(client, QUEUE), lease_ms=1, max_events=9, max_bytes=10**6, max_depth=0, poll_ms=0)
    assert remove(client).claimed == 1
    while not lanes.reap(queue_of(client, QUEUE)).events:
        pass

    assert (len(claim.events), sent(client)) == (1, [])
    assert lanes.stats(queue_of(client, QUEUE)).waiting == 0


def test_many_people_are_removed_at_once_and_counted_separately(client: redis.Redis) -> None:
    request = append(client, "d1", type="delete", userId="jo")
    for name, user in [("a", "jo"), ("b", "al"), ("c", "al"), ("d", "bo")]:
        append(client, name, userId=user)

    removed = purge.purge(context(client), [(JO, request), (mapping.Person(("al",)), None)])

    assert [person.counts for person in removed] == [{}, {"events": 2, "message_ids": 2}]
    assert lanes.stats(queue_of(client, QUEUE)).waiting == 3


def test_an_erasure_that_fails_delays_no_other(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    for user in ("jo", "bo", "al"):
        append(client, f"d {user}", type="delete", userId=user)
    sent(client)
    assert len(receipts.unfinished(queue_of(client, QUEUE))) == 3
    erase = lanes.erase

    def fail_for_bo(queue: lanes.Queue, digests: frozenset[bytes], **which: Any) -> lanes.Erased:
        if lanes.digest("id:bo") in digests:
            raise RuntimeError("a bug")
        return erase(queue, digests, **which)

    with monkeypatch.context() as patched:
        patched.setattr(lanes, "erase", fail_for_bo)
        finish_all(client)

    states = sorted(receipt.state for receipt in receipts.history(queue_of(client, QUEUE)))
    assert states == ["done", "done", "sent"]
    finish_all(client)
    assert receipts.unfinished(queue_of(client, QUEUE)) == []


def test_a_damaged_receipt_delays_no_other(client: redis.Redis) -> None:
    for user in ("jo", "bo"):
        append(client, f"d {user}", type="delete", userId=user)
    sent(client)
    damaged, _ = receipts.unfinished(queue_of(client, QUEUE))
    client.hset(f"{base(QUEUE)}:receipt:{damaged}", "person", b"{")

    finish_all(client)

    assert receipts.unfinished(queue_of(client, QUEUE)) == [damaged]


def test_an_erased_event_that_cannot_be_read_stops_no_erasure(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(client, "first", userId="jo")
    append(client, "odd", userId="jo")
    append(client, "last", userId="jo")
    read = purge.unpack

    def fail_for_odd(body: bytes) -> Unpacked:
        unpacked = read(body)
        if unpacked.event["messageId"] == "odd":
            raise RuntimeError("a bug")
        return unpacked

    monkeypatch.setattr(purge, "unpack", fail_for_odd)

    assert remove(client).counts == {"events": 3, "message_ids": 2}


def test_a_sent_operation_that_cannot_be_read_stops_no_erasure(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_item(client)

    def fail(_body: JsonObject, _destination: mapping.Destination) -> Iterator[str]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(purge, "_keys_in", fail)

    assert remove(client).counts["log"] == 1
