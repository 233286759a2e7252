"""Customer.io's Track API: sends one request and reads its answer, item by item.

The only module that knows HTTP. Facts are those of the Track API reference: a batch is answered with 200, or with 207
and the faults of single items, all others being accepted; acceptance says nothing of application.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson

from workers.outcomes import Answer, Delivered, Outcome, Paused, Rejected, RetryLater, Split
from workers.requests import Request

_KEPT_BYTES = 2_000
_CREDENTIALS = frozenset({401, 403})
_TOO_LARGE_OR_MALFORMED = frozenset({400, 413})
_AGAIN = frozenset({408, 425, 429})
_MAX_RETRY_AFTER_S = 300.0


class TrackApi:
    """A workspace's Track API over kept-alive connections; safe to share between threads."""

    def __init__(
        self, url: str, site_id: str, api_key: str, timeout_s: float, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = httpx.Client(
            base_url=url,
            auth=httpx.BasicAuth(site_id, api_key),
            timeout=httpx.Timeout(timeout_s, connect=min(5.0, timeout_s)),
            headers={"Content-Type": "application/json", "User-Agent": "segue"},
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=100),
            transport=transport,
        )

    def send(self, request: Request) -> list[Outcome]:
        """Send the request once and return one outcome per item, in order; never raises."""
        try:
            response = self._http.post(request.path, content=request.body())
        except httpx.HTTPError as error:
            answer = Answer(None, f"{type(error).__name__}: {error}")
            return [RetryLater(f"no answer: {answer.body}", answer)] * len(request.items)
        answer = Answer(response.status_code, response.text[:_KEPT_BYTES])
        if response.is_success:
            return _read_accepted(response, answer, len(request.items))
        return [_refusal(answer, _retry_after_s(response.headers), len(request.items))] * len(request.items)


def _refusal(answer: Answer, retry_after_s: float | None, count: int) -> Outcome:
    """Return what an answer other than 2xx means for each of the `count` items of its request."""
    status = answer.status or 0
    if status in _TOO_LARGE_OR_MALFORMED and count > 1:
        return Split(f"HTTP {status}", answer)
    if status in _CREDENTIALS:
        return Paused(f"the credentials were refused (HTTP {status})", answer)
    if status in _AGAIN or status >= 500:
        return RetryLater(f"HTTP {status}", answer, retry_after_s)
    return Rejected(f"HTTP {status}: {answer.body}" if answer.body else f"HTTP {status}", answer)


def _read_accepted(response: httpx.Response, answer: Answer, count: int) -> list[Outcome]:
    """Return Delivered for every item but those that a 2xx answer lists as faulty."""
    outcomes: list[Outcome] = [Delivered()] * count
    for fault in _faults(response):
        index = fault.get("batch_index", 0 if count == 1 else None)
        if isinstance(index, int) and 0 <= index < count:
            outcomes[index] = Rejected(_fault_text(fault), Answer(answer.status, orjson.dumps(fault).decode()))
    return outcomes


def _faults(response: httpx.Response) -> Sequence[Mapping[str, Any]]:
    try:
        body = orjson.loads(response.content or b"{}")
    except orjson.JSONDecodeError:
        return ()
    errors = body.get("errors") if isinstance(body, dict) else None
    return [fault for fault in errors if isinstance(fault, dict)] if isinstance(errors, list) else ()


def _fault_text(fault: Mapping[str, Any]) -> str:
    """Return `field: message (reason)` of an item's fault, as far as it tells them."""
    field, message, reason = fault.get("field"), fault.get("message"), fault.get("reason")
    text = ": ".join(str(part) for part in (field, message) if part)
    return f"{text} ({reason})" if text and reason else text or str(reason or "refused without a reason")


def _retry_after_s(headers: httpx.Headers) -> float | None:
    """Return the seconds of a `Retry-After` header, given as a number or as a date; None without a usable one."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (at - datetime.now(at.tzinfo)).total_seconds()
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)
