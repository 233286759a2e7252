"""A deliverer: a thread that claims the events of one destination and delivers them, for a slice of time."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import NamedTuple

from redis.exceptions import RedisError

import lanes
from delivery.admission import Permit
from delivery.log import Recorder
from delivery.recording.tap import ClaimTap
from delivery.sender import sender, shadow_sender
from lanes.taps.tap import Tap
from logs import events as log
from series.recent_events import RecentEvents
from workers import heartbeat
from workers.app import wake
from workers.claim import ClaimContext, deliver_claim
from workers.lease import Lease, LeaseLost
from workers.runtime import Runtime

# One task's slice of time: then it makes room for another destination's.
SLICE_S = 10.0
# How long a deliverer that finds nothing polls for more, and how often.
POLL_S = 0.5
POLL_INTERVAL_S = 0.02
# It polls on for an event that is due within this time: most events wait that long for earlier ones at most.
POLL_AHEAD_MS = 2_500
CLAIM_EVENTS = 500
CLAIM_BYTES = 2_000_000
# With one event, a probe fails for that event or for the service, and not for another event in its request.
PROBE_EVENTS = 1
# How far a chain is followed: one request for each depth, unless the destination trusts the order within a request.
CLAIM_DEPTH = {"barrier": 50, "trust": 500}
# How many claims share few people with long chains. With trust they pack, map and send side by side. Otherwise each
# waits for responses most of the time, and more of them would only be more requests.
CLAIM_SHARING = {"barrier": 2, "trust": 4}
# After an unhandled exception the claim's events are claimed again after this time: an error that every event causes
# must not fill the dead letters.
GIVEN_UP_MS = 5_000
_recent_events = RecentEvents()
tap = Tap()


def deliver(runtime: Runtime, name: str) -> None:
    """Deliver what is ready for the destination, for SLICE_S at most. Does nothing while all of its slots are taken."""
    slots = runtime.slots[name]
    if not slots.acquire(blocking=False):
        return
    try:
        until = time.monotonic() + SLICE_S
        while not (runtime.stopping.is_set() or runtime.superseded.is_set()) and time.monotonic() < until:
            if not deliver_once(runtime, name, polling=True).delivered and not poll(runtime, name):
                return
        wake(name)
    finally:
        slots.release()


def poll(runtime: Runtime, name: str) -> bool:
    """Poll for more events for POLL_S, or until the next one is due, unless another deliverer of the process does;
    return whether some were delivered."""
    poll_lock, until = runtime.poll_locks[name], time.monotonic() + POLL_S
    if not poll_lock.acquire(blocking=False):
        return False
    try:
        while not runtime.stopping.wait(POLL_INTERVAL_S):
            polling = time.monotonic() < until
            turn = deliver_once(runtime, name, polling=polling)
            if turn.delivered:
                return True
            if turn.next_due_ms is not None and turn.next_due_ms <= POLL_AHEAD_MS:
                until = max(until, time.monotonic() + turn.next_due_ms / 1000 + POLL_INTERVAL_S)
            if not polling:
                return False
        return False
    finally:
        poll_lock.release()


class Turn(NamedTuple):
    """The result of one try to claim."""

    delivered: bool  # whether there was anything to claim
    next_due_ms: int | None = None  # without a claim: time until there may be an event, if that is known


def deliver_once(runtime: Runtime, name: str, *, polling: bool) -> Turn:
    """Deliver one claim, if there is anything to claim. `polling`: the caller calls again soon."""
    permit = runtime.admissions[name].permit()
    if permit == "none":
        return Turn(delivered=False)
    requested_at = time.monotonic()
    claim = _claim(runtime, name, permit, polling=polling)
    for _ in range(claim.wake):
        wake(name)
    if not claim.events:
        return Turn(delivered=False, next_due_ms=claim.next_due_ms)
    _recent_events.keep(runtime.queues[name], claim.events)
    try:
        with runtime.leases.open(runtime.queues[name], claim.id, requested_at) as lease:
            context = _context(runtime, name, claim, lease)
            deliver_claim(claim, _tapped(context, claim) if tap.is_watched else context)
    except LeaseLost:
        log.LEASE_ENDED.write(destination=name)
    except RedisError:
        raise
    except Exception as error:
        # The claim expires soon, as if this worker had crashed. So an event that causes the exception is isolated, and
        # buried as a poison message in the end.
        log.unhandled("the delivery of a claim", error, destination=name)
        lanes.extend(runtime.queues[name], claim.id, lease_ms=GIVEN_UP_MS)
    return Turn(delivered=True)


def _claim(runtime: Runtime, name: str, permit: Permit, *, polling: bool) -> lanes.Claim:
    batch_order = runtime.destinations[name].delivery.batch_order
    return lanes.claim(
        runtime.queues[name],
        lease_ms=runtime.leases.lease_ms,
        max_events=CLAIM_EVENTS if permit == "all" else PROBE_EVENTS,
        max_bytes=CLAIM_BYTES,
        max_depth=CLAIM_DEPTH[batch_order],
        max_sharing=CLAIM_SHARING[batch_order],
        poll_ms=int(5000 * POLL_INTERVAL_S) if polling else 0,
        by=heartbeat.NAME,
        batch_wait_ms=int(1000 * POLL_INTERVAL_S),
    )


def _context(runtime: Runtime, name: str, claim: lanes.Claim, lease: Lease) -> ClaimContext:
    """Return what the claim is delivered with: `send` and the log are its own, as both know its events."""
    destination, queue = runtime.destinations[name], runtime.queues[name]
    recorder = None
    if destination.delivery.log_requests:
        recorder = Recorder(queue, claim, heartbeat.NAME)
    is_stopping, admission = runtime.stopping.is_set, runtime.admissions[name]
    send_shadow = None
    if destination.cutover is not None:
        send_shadow = shadow_sender(destination, is_stopping=is_stopping, admission=admission, recorder=recorder)
    return ClaimContext(
        queue=queue,
        destination=destination,
        send_shadow=send_shadow,
        send=sender(
            runtime.track_apis[name].send,
            destination=name,
            limits=runtime.limits,
            ensure_lease=lease.ensure,
            is_stopping=is_stopping,
            accepted_at_ms={event.sequence: event.accepted_at_ms for event in claim.events},
            admission=admission,
            recorder=recorder,
            tracer=runtime.tracer,
        ),
        retry_base_s=runtime.limits.retry_base_s,
        worker=heartbeat.NAME,
        configuration=runtime.configuration,
        trust=runtime.trust,
        is_stopping=is_stopping,
        before_settling=recorder.write if recorder else None,
        decisions=recorder if name in runtime.ledgers else None,
    )


def _tapped(context: ClaimContext, claim: lanes.Claim) -> ClaimContext:
    """Return the context with a tap, which copies what becomes of some of the events."""
    copied = ClaimTap(tap, claim, context.queue.name, context.worker)
    shadow = context.send_shadow
    return replace(
        context, send=copied.recording(context.send), send_shadow=shadow and copied.recording(shadow), tap=copied
    )
