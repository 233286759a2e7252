"""Shadow events: prepared, packed and recorded as others are, and not sent."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import redis

import lanes
import mapping
from delivery import log as delivery_log
from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome
from delivery.sender import shadow_sender
from mapping.envelope import pack
from tests.claims import LEASE_MS, deliver_events
from tests.queues import queue_of
from tests.secrets import CREDENTIALS
from workers.lease import Lease

QUEUE = "q"
MOMENT = datetime(2026, 12, 1, 10, tzinfo=UTC)
BEFORE, AFTER = "2026-12-01T09:59:59.999Z", "2026-12-01T10:00:00.000Z"


def destination(**keys: Any) -> mapping.Destination:
    return mapping.destinations({"destinations": {QUEUE: {**CREDENTIALS, **keys}}})[QUEUE]


def append(client: redis.Redis, name: str, received_at: str, **event: Any) -> None:
    event = {"type": "track", "event": name, "messageId": name, "userId": name, "receivedAt": received_at, **event}
    info = mapping.ordering_info(event, destination())
    new = lanes.NewEvent(pack("web", event), info.keys, f"web:{name}", counted_as='["accepted","web",""]')
    lanes.append(queue_of(client, QUEUE), [new])


def deliver(client: redis.Redis, to: mapping.Destination) -> list[str]:
    """Deliver what waits, and return the names of the events that were sent."""
    queue, sent = queue_of(client, QUEUE), []
    claim = lanes.claim(queue, lease_ms=LEASE_MS, max_events=99, max_bytes=10**6, max_depth=9, poll_ms=0)
    recorder = delivery_log.Recorder(queue, claim, "worker")

    def send(request: Request) -> list[Outcome]:
        sent.extend(orjson.loads(item.data).get("name") for item in request.items)
        return [Delivered()] * len(request.items)

    deliver_events(
        claim,
        queue,
        to,
        recorder.recording(send),
        lease=Lease(queue=queue, claim_id=claim.id, lease_ms=LEASE_MS, requested_at=time.monotonic()),
        before_settling=recorder.write,
        decisions=recorder,
        send_shadow=shadow_sender(to, is_stopping=lambda: False, recorder=recorder),
    )
    return sent


def fates(client: redis.Redis) -> dict[tuple[str, str], int]:
    counts = lanes.fate_totals(queue_of(client, QUEUE))
    return {(count.fate, count.reason): count.events for count in counts if count.fate != "accepted"}


def recorded(client: redis.Redis) -> list[tuple[str | None, str, str, str | None]]:
    """Return what the delivery log has: the path, the message id, the outcome, the reason."""
    entries = delivery_log.all_entries(queue_of(client, QUEUE))
    return [(entry.path, item.message_id, item.outcome, item.reason) for entry in entries for item in entry.items]


def test_a_shadow_destination_sends_nothing_and_records_everything(redis_client: redis.Redis) -> None:
    for name in ("a", "b"):
        append(redis_client, name, AFTER)

    assert deliver(redis_client, destination(mode="shadow")) == []

    expected = [("/api/v2/batch", f"web:{name}", "shadowed", "Track Event") for name in ("a", "b")]
    assert recorded(redis_client) == expected
    assert fates(redis_client) == {("shadowed", ""): 2}
    assert lanes.stats(queue_of(redis_client, QUEUE)).delivered_total == 0
    assert lanes.audit(queue_of(redis_client, QUEUE)).balances


def test_a_moment_divides_the_events_by_when_they_were_received(redis_client: redis.Redis) -> None:
    append(redis_client, "late", BEFORE)
    append(redis_client, "first", AFTER)
    append(redis_client, "later", BEFORE, userId="first")  # of one person, accepted after it

    assert deliver(redis_client, destination(cutover_at=MOMENT)) == ["first"]

    assert fates(redis_client) == {("shadowed", ""): 2, ("sent", ""): 1}
    shadow = {message_id for _, message_id, outcome, _ in recorded(redis_client) if outcome == "shadowed"}
    assert shadow == {"web:late", "web:later"}


def test_the_events_from_a_second_moment_on_are_shadow_events_again(redis_client: redis.Redis) -> None:
    append(redis_client, "old", BEFORE)
    append(redis_client, "between", AFTER)
    append(redis_client, "back", "2026-12-02T10:00:00.000Z")

    sent = deliver(redis_client, destination(cutover_at=MOMENT, cutover_until=MOMENT + timedelta(days=1)))

    assert sent == ["between"]


def test_the_moment_may_be_that_of_another_time_of_the_event(redis_client: redis.Redis) -> None:
    append(redis_client, "old", AFTER, originalTimestamp=BEFORE)
    append(redis_client, "new", BEFORE, originalTimestamp="2026-12-01T12:00:00+02:00")
    append(redis_client, "unreadable", BEFORE, originalTimestamp="yesterday")

    sent = deliver(redis_client, destination(cutover_at=MOMENT, cutover_by="originalTimestamp"))

    assert sent == ["new"], "one without a readable time has that of its acceptance, which is today"


def test_a_shadow_event_that_is_refused_is_no_dead_letter(redis_client: redis.Redis) -> None:
    append(redis_client, "bad", BEFORE, type="page", properties={})

    deliver(redis_client, destination(mode="shadow"))

    assert fates(redis_client) == {("shadowed", "invalid"): 1}
    ((path, message_id, outcome, text),) = recorded(redis_client)
    assert (path, message_id, orjson.loads(outcome)) == (None, "web:bad", ["shadowed", "web", "invalid"])
    assert text is not None
    assert text.startswith("Track Page View: ")
    assert lanes.stats(queue_of(redis_client, QUEUE)).dead == 0


def test_an_excluded_shadow_event_has_the_fate_of_any_other(redis_client: redis.Redis) -> None:
    append(redis_client, "out", BEFORE, integrations={"All": False})

    deliver(redis_client, destination(mode="shadow"))

    assert fates(redis_client) == {("filtered", "integrations.All is false"): 1}


def test_what_a_shadow_destination_sent_is_marked(redis_client: redis.Redis) -> None:
    append(redis_client, "a", BEFORE)
    deliver(redis_client, destination(mode="shadow"))

    (sent,) = delivery_log.sent_for(queue_of(redis_client, QUEUE), lanes.digest("id:a"), 9)

    assert sent.refusal == "not sent, a shadow event: Track Event"
