"""What a request adds to the metrics: its status, its duration, and the latency of the events that it delivers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from delivery.batching import Item, Request
from delivery.failures import Failed
from delivery.outcomes import Delivered, Outcome, Send
from metrics.registry import DELIVERY_DURATION, DELIVERY_LATENCY, DELIVERY_REQUESTS


def measured(send: Send, destination: str, accepted_at_ms: Mapping[int, int]) -> Send:
    """Return `send` as a function that counts its requests. `accepted_at_ms`: by the sequence of the event.

    The latency has the difference between the clocks of Redis and of this machine.
    """

    def sent(request: Request) -> list[Outcome]:
        began = time.monotonic()
        outcomes = send(request)
        DELIVERY_DURATION.add([time.monotonic() - began], destination)
        failed, delivered = _divided(request.items, outcomes)
        status = (failed.response.status or "none") if failed else 200
        DELIVERY_REQUESTS.add(destination, str(status))
        DELIVERY_LATENCY.add(_ages_s(delivered, accepted_at_ms), destination)
        return outcomes

    return sent


def _divided(items: Sequence[Item], outcomes: Sequence[Outcome]) -> tuple[Failed | None, Sequence[Item]]:
    """Return the first outcome of an item that was not accepted, if there is one, and the items that were."""
    first = outcomes[0]
    if isinstance(first, Delivered) and outcomes.count(first) == len(outcomes):  # the usual case
        return None, items
    failed = next(outcome for outcome in outcomes if not isinstance(outcome, Delivered))
    delivered = (item for item, outcome in zip(items, outcomes, strict=True) if isinstance(outcome, Delivered))
    return failed, list(delivered)


def _ages_s(items: Sequence[Item], accepted_at_ms: Mapping[int, int]) -> list[float]:
    """Return how long ago the events of the items were accepted, in seconds."""
    now_ms = time.time() * 1000
    ages_s = [(now_ms - accepted_at_ms[item.sequence]) / 1000 for item in items]
    return [max(age_s, 0.0) for age_s in ages_s] if ages_s and min(ages_s) < 0 else ages_s
