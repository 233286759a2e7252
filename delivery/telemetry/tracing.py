"""The span of each request to Customer.io, where spans are on (`metrics.traces`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome, Send
from metrics import traces

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


def traced(send: Send, destination: str, tracer: Tracer) -> Send:
    """Return `send` as a function that makes a span of each request."""

    def sent(request: Request) -> list[Outcome]:
        with traces.sending(tracer, destination, len(request.items)) as span:
            outcomes = send(request)
            failed = [outcome for outcome in outcomes if not isinstance(outcome, Delivered)]
            span.set_attribute("segue.items_not_accepted", len(failed))
            if failed and failed[0].response.status is not None:
                span.set_attribute("http.response.status_code", failed[0].response.status)
        return outcomes

    return sent
