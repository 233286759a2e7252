"""What a request adds to the metrics: its status, its duration, and the latency of the events that it delivers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome, Send
from metrics.registry import DELIVERY_DURATION, DELIVERY_LATENCY, DELIVERY_REQUESTS


def measured(send: Send, destination: str, accepted_at_ms: Mapping[int, int]) -> Send:
    """Return `send` as a function that counts its requests. `accepted_at_ms`: by the sequence of the event.

    The latency has the difference between the clocks of Redis and of this machine.
    """

    def sent(request: Request) -> list[Outcome]:
        began = time.monotonic()
        outcomes = send(request)
        DELIVERY_DURATION.add((time.monotonic() - began,), destination)
        DELIVERY_REQUESTS.add(destination, _status(outcomes))
        now_ms = time.time() * 1000
        DELIVERY_LATENCY.add(
            [
                max(0.0, (now_ms - accepted_at_ms[item.sequence]) / 1000)
                for item, outcome in zip(request.items, outcomes, strict=True)
                if isinstance(outcome, Delivered)
            ],
            destination,
        )
        return outcomes

    return sent


def _status(outcomes: Sequence[Outcome]) -> str:
    """Return the HTTP status of the response to a request, `none` without one. An accepted item says that it is 200."""
    failed = next((outcome for outcome in outcomes if not isinstance(outcome, Delivered)), None)
    return "200" if failed is None else str(failed.response.status or "none")
