"""Claims as tests deliver them: one at a time, with a `send` that responds as the test says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import lanes
import mapping
from delivery.log import Recorder
from delivery.outcomes import Send
from delivery.prepare import NO_TRUST, Trust
from delivery.sender import DeliveryLimits, sender
from workers.claim import ClaimContext, deliver_claim
from workers.lease import Lease

LEASE_MS = 60_000
LIMITS = DeliveryLimits(lease_s=60, retry_base_s=0.001, timeout_s=1, turn_s=1, retries_s=10)
WORKER = "worker"


def deliver_one(
    queue: lanes.Queue,
    destination: mapping.Destination,
    send: Send,
    *,
    is_stopping: Callable[[], bool] = lambda: False,
    before_settling: Callable[[], None] | None = None,
    trust: Trust = NO_TRUST,
    **limits: Any,
) -> lanes.Claim:
    """Claim once, deliver what was claimed, and return the claim. `limits` are arguments of `lanes.claim`."""
    requested_at = time.monotonic()
    limits = {"max_events": 100, "max_bytes": 10**6, "max_depth": 20, **limits}
    claim = lanes.claim(queue, lease_ms=LEASE_MS, poll_ms=0, by=WORKER, **limits)
    if claim.events:
        lease = Lease(queue=queue, claim_id=claim.id, lease_ms=LEASE_MS, requested_at=requested_at)
        deliver_events(
            claim,
            queue,
            destination,
            send,
            lease=lease,
            is_stopping=is_stopping,
            before_settling=before_settling,
            trust=trust,
        )
    return claim


def deliver_events(
    claim: lanes.Claim,
    queue: lanes.Queue,
    destination: mapping.Destination,
    send: Send,
    *,
    lease: Lease,
    is_stopping: Callable[[], bool] = lambda: False,
    before_settling: Callable[[], None] | None = None,
    decisions: Recorder | None = None,
    trust: Trust = NO_TRUST,
    send_shadow: Send | None = None,
) -> None:
    """Deliver a claim under this lease, with retries, without a rate limit."""
    context = ClaimContext(
        queue=queue,
        destination=destination,
        send=sender(
            send,
            destination=queue.name,
            limits=LIMITS,
            ensure_lease=lease.ensure,
            is_stopping=is_stopping,
            accepted_at_ms={event.sequence: event.accepted_at_ms for event in claim.events},
        ),
        retry_base_s=LIMITS.retry_base_s,
        worker=WORKER,
        configuration="c0ffee",
        is_stopping=is_stopping,
        before_settling=before_settling,
        decisions=decisions,
        trust=trust,
        send_shadow=send_shadow,
    )
    deliver_claim(claim, context)
