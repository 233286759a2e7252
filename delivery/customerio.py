"""The client of Customer.io's Track API: sends one request and reads its response, item by item.

The only module that knows HTTP. The rules are those of the Track API reference: the response to a batch is 200, or 207
with the faults of single items, and all other items are accepted. An accepted operation is not applied yet.
"""

from __future__ import annotations

import math
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson

from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome, Paused, Rejected, Response, RetryLater, Split
from mapping.operation import BATCH_PATH, ENTITY_PATH, METRICS_PATH

_KEPT_BYTES = 2_000  # of a response's body
_CREDENTIALS = frozenset({401, 403})
_NOT_FOUND = 404
_TOO_LARGE_OR_MALFORMED = frozenset({400, 413})
_RETRY = frozenset({408, 425, 429})
_MAX_RETRY_AFTER_S = 300.0


class TrackApi:
    """A workspace's Track API over kept-alive connections. Threads may share it."""

    def __init__(
        self, url: str, site_id: str, api_key: str, timeout_s: float, transport: httpx.BaseTransport | None = None
    ) -> None:
        """`url`: scheme and host; `timeout_s`: from the connection to the last byte of the response, in seconds."""
        self._timeout_s = timeout_s
        self._addresses = {path: httpx.URL(url.rstrip("/") + path) for path in (BATCH_PATH, ENTITY_PATH, METRICS_PATH)}
        credentials = b64encode(f"{site_id}:{api_key}".encode()).decode()
        self._headers = httpx.Headers(
            {"Authorization": f"Basic {credentials}", "Content-Type": "application/json", "User-Agent": "segue"}
        )
        self._http = httpx.Client(
            timeout=httpx.Timeout(timeout_s, connect=min(5.0, timeout_s)),
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=100),
            transport=transport,
        )

    def send(self, request: Request) -> list[Outcome]:
        """Send the request once and return one outcome per item, in order; never raises.

        Split and RetryLater apply to all items of a request.
        """
        try:
            http_response, content = self._post(request)
        except httpx.HTTPError as error:
            response = Response(None, f"{type(error).__name__}: {error}")
            return [RetryLater(f"no response: {response.body}", response)] * len(request.items)
        response = Response(http_response.status_code, content[:_KEPT_BYTES].decode("utf-8", "replace"))
        if http_response.is_success:
            return _read_accepted(content, response, len(request.items))
        return [_refusal(request, response, http_response.headers)] * len(request.items)

    def _post(self, request: Request) -> tuple[httpx.Response, bytes]:
        """Return the whole response. httpx bounds each read but not their sum, so a slow stream would never end."""
        until = time.monotonic() + self._timeout_s
        content = b""
        call = httpx.Request("POST", self._addresses[request.path], headers=self._headers, content=request.body())
        with closing(self._http.send(call, stream=True)) as response:
            for part in response.iter_bytes():
                content += part
                if time.monotonic() > until:
                    raise httpx.ReadTimeout("the response did not end in time")
        # A response and its stream refer to each other and to the request's body: garbage that waits for a collection.
        response.stream = httpx.ByteStream(content)
        return response, content


def _refusal(request: Request, response: Response, headers: httpx.Headers) -> Outcome:
    """Return the outcome of each item of a request whose response is not 2xx."""
    status = response.status or 0
    if status in _TOO_LARGE_OR_MALFORMED and len(request.items) > 1:
        return Split(f"HTTP {status}", response)
    if status in _CREDENTIALS:
        return Paused(f"the credentials were refused (HTTP {status})", response)
    if 300 <= status < 400:
        # Not followed: credentials and personal data go only to the configured address.
        elsewhere = headers.get("location", "another address")
        return Paused(f"the service is at {elsewhere} (HTTP {status}): set the region of the workspace", response)
    if status == _NOT_FOUND and request.path == BATCH_PATH:
        return Paused("there is no Track API at this address (HTTP 404)", response)
    if status in _RETRY or status >= 500:
        return RetryLater(f"HTTP {status}", response, _retry_after_s(headers))
    return Rejected(f"HTTP {status}: {response.body}" if response.body else f"HTTP {status}", response)


def _read_accepted(content: bytes, response: Response, count: int) -> list[Outcome]:
    """Return Delivered for every item except those that a 2xx response lists as faulty."""
    outcomes: list[Outcome] = [Delivered()] * count
    for fault in _faults(content):
        index = fault.get("batch_index", 0 if count == 1 else None)
        if isinstance(index, int) and 0 <= index < count:
            own = Response(response.status, orjson.dumps(fault).decode(), fault.get("batch_index"))
            outcomes[index] = Rejected(_fault_text(fault), own)
    return outcomes


def _faults(content: bytes) -> Sequence[Mapping[str, Any]]:
    try:
        body = orjson.loads(content or b"{}")
    except orjson.JSONDecodeError:
        return ()
    errors = body.get("errors") if isinstance(body, dict) else None
    return [fault for fault in errors if isinstance(fault, dict)] if isinstance(errors, list) else ()


def _fault_text(fault: Mapping[str, Any]) -> str:
    """Return `field: message (reason)` of an item's fault, with the members that it has."""
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
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)
