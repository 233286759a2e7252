"""Sending one request: the steps around the HTTP call, composed in one place.

From the outermost to the innermost:

1. *retry*: sends the same bytes again while the service accepted none of the items (`delivery.retries`).
2. *stop*: a worker that shuts down sends nothing more; the outcomes are Paused.
3. *admission*: acquires a turn of the rate limit, and reports the response (`delivery.admission`).
4. *lease*: the claim must be ours; else LeaseLost. The lease is extended while the request is in progress.
5. *log*: records the request and its outcomes (`delivery.log`); absent where the destination keeps no log.
6. *failures*: writes a line for a request without success (`delivery.failures`).
7. *metrics*: counts the request, and measures it (`delivery.telemetry.measuring`).
8. *span*: makes one of the request (`delivery.telemetry.tracing`); absent where spans are off.
9. the HTTP call (`delivery.customerio`).

Retry is the outermost step because each attempt is a request. It takes a turn of its own and has an entry of its own in
the log. The lease may have ended since the one before. Stop comes before admission, as a turn that is not used is lost
to the other workers. Lease comes after it, as a process may be stopped while it waits for its turn. The check is the
last step before the request is sent. The log is next to the HTTP call. It has the times of the request alone, and no
entry for a request that was not sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from delivery import failures, retries
from delivery.admission import Admission
from delivery.batching import Request
from delivery.log import Recorder
from delivery.outcomes import NOT_SENT, Outcome, Paused, Send, Shadowed
from delivery.telemetry.measuring import measured
from delivery.telemetry.tracing import traced
from mapping import Destination

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

# From the end of the HTTP call until its lease need not be extended any more.
_MARGIN_S = 1.0
# The in-process attempts of a request end within this time: a worker that shall stop has not much longer.
_LONGEST_RETRIES_S = 10.0
_LONGEST_TIMEOUT_S, _LONGEST_TURN_S = 20.0, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLimits:
    """How long the steps of one request may take, in seconds."""

    lease_s: float  # of a claim
    retry_base_s: float  # of the first backoff
    timeout_s: float  # of the HTTP call
    turn_s: float  # the longest wait for a turn of the rate limit
    retries_s: float  # no attempt begins later

    @classmethod
    def within(cls, lease_s: float, retry_base_s: float) -> DeliveryLimits:
        """Return the limits for a lease. It is extended during the HTTP call, but not during the other waits."""
        return cls(
            lease_s=lease_s,
            retry_base_s=retry_base_s,
            timeout_s=min(_LONGEST_TIMEOUT_S, lease_s),
            turn_s=min(_LONGEST_TURN_S, lease_s / 4),
            retries_s=min(_LONGEST_RETRIES_S, lease_s / 2),
        )


def sender(
    http: Send,
    *,
    destination: str,
    limits: DeliveryLimits,
    ensure_lease: Callable[[float], None],
    is_stopping: Callable[[], bool],
    accepted_at_ms: Mapping[int, int],
    admission: Admission | None = None,
    recorder: Recorder | None = None,
    tracer: Tracer | None = None,
) -> Send:
    """Return the function that sends a request of one claim, by the steps of this module.

    `ensure_lease` makes sure that the claim is ours, for a request of so many seconds, or raises; the function raises
    the same. `accepted_at_ms`: when each event of the claim was accepted, by its sequence.
    """
    steps: list[Callable[[Send], Send]] = [
        lambda send: retries.retrying(send, limits.retry_base_s, limits.retries_s),
        lambda send: _unless_stopping(send, is_stopping),
    ]
    if admission is not None:
        steps.append(admission.guard)
    steps.append(lambda send: _under_lease(send, ensure_lease, limits.timeout_s + _MARGIN_S))
    if recorder is not None:
        steps.append(recorder.recording)
    if tracer is not None:
        http = traced(http, destination, tracer)
    return _composed(steps, failures.logged(measured(http, destination, accepted_at_ms), destination))


def shadow_sender(
    destination: Destination,
    *,
    is_stopping: Callable[[], bool],
    admission: Admission | None = None,
    recorder: Recorder | None = None,
) -> Send:
    """Return the function that takes the place of `sender` for shadow events. It takes a turn of the rate limit and
    records the request, and sends nothing."""
    names = {each.index: each.name for each in destination.subscriptions}
    steps: list[Callable[[Send], Send]] = [lambda send: _unless_stopping(send, is_stopping)]
    if admission is not None:
        steps.append(admission.pace)
    if recorder is not None:
        steps.append(recorder.recording)
    return _composed(steps, lambda request: [Shadowed(names.get(item.subscription, "")) for item in request.items])


def _composed(steps: Sequence[Callable[[Send], Send]], send: Send) -> Send:
    """Return `send` within the steps, of which the first is the outermost."""
    for step in reversed(steps):
        send = step(send)
    return send


def _unless_stopping(send: Send, is_stopping: Callable[[], bool]) -> Send:
    def sent(request: Request) -> list[Outcome]:
        if is_stopping():
            return [Paused("the worker stops", NOT_SENT)] * len(request.items)
        return send(request)

    return sent


def _under_lease(send: Send, ensure_lease: Callable[[float], None], seconds: float) -> Send:
    def sent(request: Request) -> list[Outcome]:
        ensure_lease(seconds)
        return send(request)

    return sent
