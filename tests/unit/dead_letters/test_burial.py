"""The failure of an event that is buried: what it has of the operations and of the attempts."""

from __future__ import annotations

from typing import Any

import lanes
import mapping
from dead_letters.burial import FailedEvent, Results
from dead_letters.record import MOST_ATTEMPTS, FailureRecord, Reason
from delivery.batching import encode
from delivery.outcomes import Rejected, Response
from mapping.envelope import JsonObject, pack
from tests.secrets import CREDENTIALS

DESTINATION = mapping.destinations({"destinations": {"journeys": CREDENTIALS}})["journeys"]
EVENT = {"type": "track", "event": "Order Placed", "userId": "jo", "messageId": "m1", "properties": {"price": 3}}
ATTEMPT = {"at_ms": 1_700_000_000_000, "worker": "w1", "reason": "name: no (invalid)"}


def claimed(event: JsonObject, requeued: JsonObject | None = None, **members: Any) -> lanes.ClaimedEvent:
    values: dict[str, Any] = {"keys": (), "attempts": (), "expired_claims": ()} | members
    return lanes.ClaimedEvent(sequence=7, accepted_at_ms=5, depth=0, body=pack("web", event, requeued), **values)


def failed(event: lanes.ClaimedEvent, results: Results, reason: Reason) -> FailureRecord:
    """Return the failure of the event, read as it is stored."""
    buried = FailedEvent(
        event=event,
        results=results,
        reason=reason,
        destination=DESTINATION,
        at_s=9.0,
        worker="w4",
        configuration="0a1b",
    )
    return FailureRecord.from_bytes(buried.failure())


def test_a_fault_has_the_subscription_and_the_payload_of_the_operation_of_its_item() -> None:
    (operation,) = mapping.translate(EVENT, DESTINATION, 5.0).operations
    item = encode(7, 0, operation, operation.body)
    refusal = (item, Rejected("name: no (invalid)", Response(207, "{}", 0)))

    failure = failed(claimed(EVENT), Results(refusals=(refusal,)), Reason.REJECTED)

    (fault,) = failure.faults
    assert (fault.subscription, fault.request) == ("Track Event", operation.body)
    assert fault.payload == operation.payload


def test_expired_claims_are_attempts_in_order_and_a_poison_message_has_no_other() -> None:
    lines = (b'[3,"w1","HTTP 503"]',)
    claims = (lanes.ExpiredClaim(4, "w3"), lanes.ExpiredClaim(2, "w2"))
    event = claimed(EVENT, {"attempts": [ATTEMPT]}, attempts=lines, expired_claims=claims)

    def workers(reason: Reason) -> list[str]:
        return [attempt["worker"] for attempt in failed(event, Results(message="no"), reason).attempts]

    assert workers(Reason.POISON) == ["w1", "w2", "w1", "w3"]
    assert workers(Reason.DELETED) == ["w1", "w2", "w1", "w3", "w4"]


def test_the_last_attempts_are_kept() -> None:
    event = claimed(EVENT, {"attempts": [ATTEMPT] * 90}, attempts=(b'[9,"last","HTTP 503"]',))
    attempts = failed(event, Results(message="no"), Reason.DELETED).attempts

    assert (len(attempts), attempts[-2]["worker"]) == (MOST_ATTEMPTS, "last")
