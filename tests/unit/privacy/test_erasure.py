"""Forgetting at the workers: orders that wait are not lost, letters that were edited are found, merges are followed."""

from __future__ import annotations

import time
from pathlib import Path

import fakeredis
import orjson
import pytest
import redis

import lanes
import mapping
from dead_letters import query, spill_files
from delivery import identity_memory
from delivery import log as delivery_log
from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome
from lanes.keys import base
from mapping.envelope import pack
from privacy import erasure, purge, receipts
from tests.claims import deliver_events
from tests.queues import queue_of
from tests.unit.workers.test_claim import QUEUE, Service, deliver
from workers.lease import Lease

DESTINATION = mapping.destinations({"destinations": {QUEUE: {"site_id": "s", "api_key": "k"}}})[QUEUE]
JO = mapping.Person(("jo",))


def context(client: redis.Redis, spill_dir: Path | None = None) -> purge.ErasureContext:
    return purge.ErasureContext(queue_of(client, QUEUE), DESTINATION, spill_dir)


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


def append(client: redis.Redis, name: str, source: str = "web", **event: object) -> int:
    body = {"type": "track", "event": name, "messageId": name, **event}
    place = mapping.ordering_info(body, DESTINATION)
    entry = lanes.NewEvent(pack(source, body), place.keys, f"{source}:{name}", join=place.join)
    return lanes.append(queue_of(client, QUEUE), [entry]).last


def sent(client: redis.Redis) -> list[str]:
    """Work everything off; the operations that were sent, as `action who`."""
    told: list[str] = []

    def send(request: Request) -> list[Outcome]:
        bodies = [orjson.loads(item.data) for item in request.items]
        told.extend(f"{body['action']} {orjson.dumps(body.get('identifiers')).decode()}" for body in bodies)
        return [Delivered()] * len(bodies)

    while deliver(client, DESTINATION, send).events:
        pass
    return told


def finish_all(client: redis.Redis) -> None:
    erasure.finish(context(client))


def remove(client: redis.Redis, spill_dir: Path | None = None, before: int | None = None) -> purge.Removed:
    """Remove Jo."""
    (removed,) = purge.purge(context(client, spill_dir), [(JO, before)])
    return removed


def test_an_order_that_waits_is_not_lost_to_the_next_one(client: redis.Redis) -> None:
    append(client, "unsent", userId="jo")
    first, _ = erasure.give(context(client), JO, "suppress", "op")
    append(client, "unsent too", userId="jo")

    second, _ = erasure.give(context(client), JO, "delete", "op")

    assert (first.removed["events"], second.removed["events"]) == (1, 2)
    assert sent(client) == ['delete {"id":"jo"}', 'suppress {"id":"jo"}']
    finish_all(client)
    states = {receipt.id: (receipt.what, receipt.state) for receipt in receipts.history(queue_of(client, QUEUE))}
    assert states == {first.id: ("suppress", "done"), second.id: ("delete", "done")}
    assert lanes.stats(queue_of(client, QUEUE)).waiting == 0


def test_segment_s_request_drops_what_stands_before_it_and_keeps_what_comes_after(client: redis.Redis) -> None:
    append(client, "before", userId="jo")
    order = append(client, "d1", type="delete", userId="jo")
    append(client, "after", userId="jo", timestamp="2199-01-01T00:00:00Z")

    dropped = erasure.drop(context(client), order)
    assert dropped is not None
    assert dropped.counts == {"events": 1, "message_ids": 1}
    assert sent(client) == ['delete {"id":"jo"}', 'event {"id":"jo"}']
    finish_all(client)

    assert erasure.drop(context(client), order) is None
    (receipt,) = receipts.history(queue_of(client, QUEUE))
    assert (receipt.who, receipt.what, receipt.state) == ("source web", "delete", "done")
    assert receipt.removed["events"] == 1
    assert receipts.order(queue_of(client, QUEUE), receipt.id) is None


def test_whoever_was_merged_is_the_same_person(client: redis.Redis) -> None:
    merge = {"type": "person", "action": "merge", "primary": {"id": "jo"}, "secondary": {"id": "old"}}
    identity_memory.remember(queue_of(client, QUEUE), [("merge", merge, 1)])
    append(client, "late", userId="old")
    append(client, "other", userId="al")

    removed = remove(client)

    assert removed.counts == {"events": 1, "message_ids": 1, "merged": 1}
    assert sent(client) == ['event {"id":"al"}']


def test_the_log_tells_who_else_was_named(client: redis.Redis) -> None:
    append(client, "update", type="identify", userId="jo", anonymousId="an", traits={"email": "Jo@example.com"})
    claim = lanes.claim(queue_of(client, QUEUE), lease_ms=60_000, max_events=9, max_bytes=10**6, max_depth=9, poll_ms=0)
    recorder = delivery_log.Recorder(queue_of(client, QUEUE), claim, "worker")
    send = recorder.recording(lambda request: [Delivered()] * len(request.items))
    queue = queue_of(client, QUEUE)
    lease = Lease(queue=queue, claim_id=claim.id, lease_ms=60_000, requested_at=time.monotonic())
    deliver_events(claim, queue, DESTINATION, send, lease=lease, before_settling=recorder.write)

    removed = remove(client)

    assert removed.counts["log"] == 1
    assert removed.others == {"email:jo@example.com", "anonymous_id:an"}


def test_a_letter_that_was_edited_is_found_by_what_it_says(client: redis.Redis) -> None:
    append(client, "bad", type="page", userId="al", properties={})
    deliver(client, DESTINATION, Service())
    (letter,) = lanes.list_dead_letters(queue_of(client, QUEUE))
    grave = query.read(letter)
    assert remove(client).counts == {}
    query.edit(queue_of(client, QUEUE), grave, grave.event | {"userId": "jo"})

    assert remove(client).counts == {"letters": 1, "message_ids": 1}
    assert lanes.list_dead_letters(queue_of(client, QUEUE)) == []


def test_a_person_s_lines_leave_the_spill_files_and_the_others_stay(client: redis.Redis, tmp_path: Path) -> None:
    events = [{"type": "track", "event": "x", "userId": user} for user in ("jo", "al", "jo", "al")]
    lines = [{"sequence": n, "event": event, "again": {}, "why": {}} for n, event in enumerate(events, start=1)]
    lines[3]["again"] = {"original": events[0]}
    spill_files.finish(spill_files.write(tmp_path, QUEUE, map(orjson.dumps, lines)), range(5))

    assert remove(client, tmp_path, before=3).counts == {"spilled": 1}
    assert remove(client, tmp_path).counts == {"spilled": 2}
    (file,) = spill_files.files(tmp_path, QUEUE)
    assert [orjson.loads(line)["event"]["userId"] for line in spill_files.read(file)] == ["al"]


def test_letters_are_removed_once_none_is_on_its_way_to_a_file(client: redis.Redis) -> None:
    """Else a letter could be gone from Redis, and come to rest in a file that was searched already."""
    append(client, "bad", type="page", userId="jo", properties={})
    deliver(client, DESTINATION, Service())
    client.set(f"{base(QUEUE)}:spill:lock", "a worker", px=300)

    assert remove(client).counts["letters"] == 1
    assert not client.exists(f"{base(QUEUE)}:spill:lock")


def test_what_was_emptied_while_it_was_claimed_is_not_sent_again(client: redis.Redis) -> None:
    append(client, "dies", userId="jo")
    claim = lanes.claim(queue_of(client, QUEUE), lease_ms=1, max_events=9, max_bytes=10**6, max_depth=0, poll_ms=0)
    assert remove(client).claimed == 1
    while not lanes.reap(queue_of(client, QUEUE)).events:
        pass

    assert (len(claim.events), sent(client)) == (1, [])
    assert lanes.stats(queue_of(client, QUEUE)).waiting == 0


def test_many_people_are_removed_at_once_and_each_is_counted_apart(client: redis.Redis) -> None:
    order = append(client, "d1", type="delete", userId="jo")
    for name, user in [("a", "jo"), ("b", "al"), ("c", "al"), ("d", "bo")]:
        append(client, name, userId=user)

    removed = purge.purge(context(client), [(JO, order), (mapping.Person(("al",)), None)])

    assert [one.counts for one in removed] == [{}, {"events": 2, "message_ids": 2}]
    assert lanes.stats(queue_of(client, QUEUE)).waiting == 3
