"""What the log says of requests without success: status, reason, number of items and the service's id of the request.

It never quotes the service, which may quote the request. The dead letter and the delivery log do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import orjson

from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome, Paused, Rejected, RetryLater, Send, Split
from logs import events as log

_CODE: Final = re.compile(r"[a-z][a-z_]{1,30}")  # Customer.io's word for a fault, such as `required`
_MULTI_STATUS: Final = 207

Failed = Rejected | RetryLater | Paused | Split


def logged(send: Send, destination: str) -> Send:
    """Return `send` as a function that writes a line for a request of which an item was not accepted."""

    def sent(request: Request) -> list[Outcome]:
        outcomes = send(request)
        first = outcomes[0]
        if not isinstance(first, Delivered) or outcomes.count(first) < len(outcomes):
            _write(outcomes, destination)
        return outcomes

    return sent


def reason(outcome: Failed) -> str:
    """Return why an item was not accepted, without the words of the service."""
    status = outcome.response.status
    if isinstance(outcome, Rejected):
        return f"refused: {_code(outcome.response.body)}"
    if isinstance(outcome, Split):
        return "refused as a whole, sent again in halves"
    if status is not None and 300 <= status < 400:
        return "the service is at another address: set the region of the workspace"
    if isinstance(outcome, Paused) or status == _MULTI_STATUS:
        return outcome.reason
    return f"HTTP {status}" if status else f"no response: {outcome.response.body.partition(':')[0]}"


def _write(outcomes: Sequence[Outcome], destination: str) -> None:
    failed = [outcome for outcome in outcomes if not isinstance(outcome, Delivered)]
    first = failed[0]
    log.REQUEST_FAILED.write(
        destination=destination,
        status=first.response.status,
        reason=reason(first),
        items=len(failed),
        of_items=len(outcomes),
        request_id=first.response.request_id,
        retry_after_s=first.after_s if isinstance(first, RetryLater) else None,
    )


def _code(body: str) -> str:
    """Return the `reason` of a fault, or of the first one of a response; `without a code` if there is none."""
    try:
        found = orjson.loads(body)
        fault = found["errors"][0] if "errors" in found else found
        code = fault["reason"]
    except (ValueError, TypeError, LookupError):
        return "without a code"
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "without a code"
