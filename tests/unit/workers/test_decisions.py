"""Where there is a ledger, a claim records each event that is not sent, and each dead letter, with the reason."""

from __future__ import annotations

import time
from typing import Any

import redis

import lanes
import mapping
from delivery import log as delivery_log
from delivery.outcomes import Delivered, Outcome, Rejected, Response
from delivery.recording import ledger
from lanes import keys
from mapping.envelope import pack
from tests.claims import LEASE_MS, deliver_events
from tests.queues import queue_of
from workers.lease import Lease

QUEUE = "q"
DESTINATION = mapping.destinations({"destinations": {QUEUE: {"site_id": "s", "api_key": "k"}}})[QUEUE]


def append(client: redis.Redis, message_id: str, **event: Any) -> None:
    event = {"messageId": message_id, "userId": "jo", "timestamp": "2026-11-29T12:00:00Z", **event}
    info = mapping.ordering_info(event, DESTINATION)
    new = lanes.NewEvent(pack("web", event), info.keys, f"web:{message_id}", counted_as='["accepted","web",""]')
    lanes.append(queue_of(client, QUEUE), [new])


def deliver(client: redis.Redis, *outcomes: Outcome, with_ledger: bool = True) -> list[tuple[Any, ...]]:
    """Deliver what waits, and return the decisions of the log: message id, fate and reason, text."""
    queue = queue_of(client, QUEUE)
    claim = lanes.claim(queue, lease_ms=LEASE_MS, max_events=9, max_bytes=10**6, max_depth=9, poll_ms=0)
    recorder = delivery_log.Recorder(queue, claim, "worker")
    send = recorder.recording(lambda request: list(outcomes) or [Delivered()] * len(request.items))
    lease = Lease(queue=queue, claim_id=claim.id, lease_ms=LEASE_MS, requested_at=time.monotonic())
    decisions = recorder if with_ledger else None
    deliver_events(claim, queue, DESTINATION, send, lease=lease, before_settling=recorder.write, decisions=decisions)
    found = [item for entry in delivery_log.all_entries(queue) if entry.path is None for item in entry.items]
    return [(item.message_id, item.outcome, item.reason, item.detail) for item in reversed(found)]


def test_an_event_that_is_not_sent_is_recorded_with_the_reason(redis_client: redis.Redis) -> None:
    append(redis_client, "f", type="track", event="x", integrations={"All": False})
    append(redis_client, "s", type="track", event="x")
    append(redis_client, "u", type="group", userId="jo")

    found = deliver(redis_client)

    assert ("web:f", "filtered", "integrations.All is false", None) in found
    assert "web:s" not in {message_id for message_id, *_ in found}


def test_a_dead_letter_is_recorded_with_its_message(redis_client: redis.Redis) -> None:
    append(redis_client, "bad", type="page", properties={})

    ((message_id, fate, reason, text),) = deliver(redis_client)

    assert (message_id, fate, reason) == ("web:bad", "dead", "invalid")
    assert "url" in text


def test_a_refused_event_has_its_request_and_its_dead_letter(redis_client: redis.Redis) -> None:
    append(redis_client, "r", type="track", event="x")

    found = deliver(redis_client, Rejected("no such person", Response(400, "")))

    assert found == [("web:r", "dead", "rejected", "no such person")]
    (sent,) = delivery_log.sent_for(queue_of(redis_client, QUEUE), lanes.digest("id:jo"), 9)
    assert (sent.message_id, sent.refusal) == ("web:r", "no such person")


def test_without_a_ledger_nothing_of_it_is_recorded(redis_client: redis.Redis) -> None:
    append(redis_client, "f", type="track", event="x", integrations={"All": False})

    assert deliver(redis_client, with_ledger=False) == []
    assert not redis_client.exists(keys.LOG.of(QUEUE))


def test_the_decisions_of_an_erased_person_are_removed_from_the_log(redis_client: redis.Redis) -> None:
    append(redis_client, "f", type="track", event="x", integrations={"All": False})
    deliver(redis_client)
    digest = lanes.digest("id:jo")

    removed = delivery_log.remove(queue_of(redis_client, QUEUE), lambda _, digests: digest in digests)

    assert [(item.message_id, item.body) for item in removed] == [("web:f", {})]
    assert not redis_client.exists(keys.LOG.of(QUEUE))


def test_a_queue_keeps_entries_for_a_ledger_that_ran_recently(redis_client: redis.Redis) -> None:
    queue = queue_of(redis_client, QUEUE)
    assert not ledger.is_kept(queue)
    ledger.report_seen(queue)
    assert ledger.is_kept(queue)
    redis_client.hset(keys.LEDGER.of(QUEUE), "seen_ms", int(time.time() * 1000) - ledger.AWAY_S * 1000 - 1)

    assert not ledger.is_kept(queue)
