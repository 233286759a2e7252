"""The client of Customer.io's Track API: sends one request and reads its response, item by item.

The only module that knows HTTP. The rules are those of the Track API reference. The response to a batch is 200 with an
empty object, or 207 with the faults of single items. All other items are accepted. An accepted operation is not applied
yet. A response that the Track API does not give is one of a proxy or of another service. It pauses the destination, and
settles no event.
"""

from __future__ import annotations

import math
import re
import ssl
import threading
import time
import zlib
from base64 import b64encode
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any, Final, cast
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx
import orjson

from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome, Paused, Rejected, Response, RetryLater, Split
from mapping import ConfigurationError
from mapping.envelope import JsonObject, encoded
from mapping.operation import BATCH_PATH, ENTITY_PATH, METRICS_PATH

_MOST_BYTES = 1_000_000  # of a response's body; Customer.io's have some hundred
_KEPT_BYTES = 2_000  # of a response's body, with a dead letter
_SHOWN_CHARACTERS = 200  # of an address that a response names
MAX_RETRY_AFTER_S: Final = 300.0

_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})
_MULTI_STATUS = 207
_ACCEPTED = frozenset({200, _MULTI_STATUS})
_CREDENTIALS = frozenset({401, 403})
_NOT_FOUND = 404
_TOO_LARGE = 413
_MALFORMED = frozenset({400, 422})
_RETRY = frozenset({408, 425, 429})
_REQUEST_ID = re.compile(r"(?=.*[0-9])[0-9A-Za-z-]{16,64}")  # no name, no address
_NOT_THE_API = "the Track API does not respond like this (HTTP {}): check the address, and proxies on the way to it"


class TrackApi:
    """A workspace's Track API over kept-alive connections. Threads may share it."""

    def __init__(
        self, url: str, site_id: str, api_key: str, timeout_s: float, transport: httpx.BaseTransport | None = None
    ) -> None:
        """`url`: scheme and host; `timeout_s`: from the connection to the last byte of the response, in seconds.

        Raises mapping.ConfigurationError: a variable of the environment gives a proxy, or certificates, that cannot be
        used.
        """
        self._timeout_s = timeout_s
        self._addresses = {path: httpx.URL(url.rstrip("/") + path) for path in (BATCH_PATH, ENTITY_PATH, METRICS_PATH)}
        credentials = b64encode(f"{site_id}:{api_key}".encode()).decode()
        self._headers = httpx.Headers(
            {
                "Authorization": f"Basic {credentials}",
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": "segue",
            }
        )
        self._extensions = {"timeout": httpx.Timeout(timeout_s, connect=min(5.0, timeout_s)).as_dict()}
        # Not a client: its cookies, redirects and authentication are of no use here, and cost a third of a request.
        self._transport = transport or _transport(self._addresses[BATCH_PATH])

    def send(self, request: Request) -> list[Outcome]:
        """Send the request once and return one outcome per item, in order; never raises.

        Split and RetryLater apply to all items of a request.
        """
        try:
            return self._outcomes(request)
        except Exception as error:  # httpx has errors outside its own classes too, such as those of a host's name
            response = Response(None, f"{type(error).__name__}: {error}"[:_KEPT_BYTES])
            return [RetryLater(f"no response: {response.body}", response)] * len(request.items)

    def _outcomes(self, request: Request) -> list[Outcome]:
        http_response, content = self._post(request)
        text, request_id = content[:_KEPT_BYTES].decode("utf-8", "replace"), _request_id(http_response.headers)
        response = Response(http_response.status_code, text, request_id=request_id)
        body = _object(content)
        if http_response.is_success:
            return _read_accepted(body, response, len(request.items))
        return [_refusal(request, response, body, http_response.headers)] * len(request.items)

    def _post(self, request: Request) -> tuple[httpx.Response, bytes]:
        """Return the response with its body, or the beginning of a body of more than _MOST_BYTES.

        httpx would decompress without a bound.
        """
        until = _deadline.at = time.monotonic() + self._timeout_s
        received = bytearray()
        address, content = self._addresses[request.path], request.body()
        call = httpx.Request("POST", address, headers=self._headers, content=content, extensions=self._extensions)
        with closing(self._transport.handle_request(call)) as response:
            for part in cast(Iterable[bytes], response.stream):
                received += part
                if len(received) > _MOST_BYTES:
                    break
                if time.monotonic() > until:
                    raise httpx.ReadTimeout("the response did not end in time")
        return response, _decompressed(bytes(received), response.headers.get("content-encoding", ""))


class _Deadline(threading.local):
    """The time at which the request of this thread must have ended."""

    at = math.inf

    def remaining_s(self, timeout_s: float | None) -> float:
        """Return for how long the next step may take. Raises httpcore.ReadTimeout: no time is left."""
        remaining_s = self.at - time.monotonic()
        if remaining_s <= 0:
            raise httpcore.ReadTimeout("the response did not end in time")
        return remaining_s if timeout_s is None else min(timeout_s, remaining_s)


_deadline = _Deadline()


class _Stream(httpcore.NetworkStream):
    """A connection whose steps end with the time of the request. httpcore bounds each read alone, so a head that comes
    byte by byte would take any time, and the lease would end before it."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _deadline.remaining_s(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _deadline.remaining_s(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _deadline.remaining_s(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    """Makes connections that end with the time of the request."""

    def connect_tcp(self, *arguments: Any, **options: Any) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(*arguments, **options))


def _transport(address: httpx.URL) -> httpx.BaseTransport:
    """Return the connections to the address. A fault shows no value of the environment: a proxy may have a password."""
    variable, proxy = _proxy(address)
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    try:
        transport = httpx.HTTPTransport(limits=limits, proxy=proxy)
    except OSError as error:
        raise ConfigurationError([f"SSL_CERT_FILE: its certificates cannot be read: {error.strerror}"]) from error
    except (httpx.InvalidURL, ValueError, ImportError) as error:  # the last one for SOCKS, which needs a package
        raise ConfigurationError([f"{variable}: must be like http://proxy.example.com:3128"]) from error
    transport._pool._network_backend = _Backend()  # httpx has no argument for it
    return transport


def _proxy(address: httpx.URL) -> tuple[str, str | None]:
    """Return the variable that has the proxy for the address, and the proxy; None: requests go to the host itself.

    A proxy is for other machines: `segue up` runs the simulator on this one.
    """
    proxies = getproxies()
    name = address.scheme if address.scheme in proxies else "all"
    proxy = proxies.get(name)
    if proxy is None or _is_local(address.host) or proxy_bypass(address.raw_host.decode("ascii")):
        return "", None
    return f"{name.upper()}_PROXY", proxy if "://" in proxy else f"http://{proxy}"


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def _decompressed(content: bytes, encoding: str) -> bytes:
    """Return the body, or the first bytes of one of more than _MOST_BYTES; unchanged when it cannot be decompressed."""
    if encoding.lower() not in _ENCODINGS:
        return content
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        body = decompressor.decompress(content, _MOST_BYTES + 1)
    except zlib.error:
        return content
    return body if decompressor.eof or len(body) > _MOST_BYTES else content


def _object(content: bytes) -> JsonObject | None:
    """Return the JSON object that the body is; None when it is something else or too long."""
    try:
        body = orjson.loads(content) if len(content) <= _MOST_BYTES else None
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def _refusal(request: Request, response: Response, body: JsonObject | None, headers: httpx.Headers) -> Outcome:
    """Return the outcome of each item of a request whose response is not 2xx.

    Only the Track API itself refuses an operation: a 400 of a proxy, or another status, is a fault of the set-up.
    """
    status = response.status or 0
    if status in _CREDENTIALS:
        return Paused(f"the credentials were refused (HTTP {status})", response)
    if 300 <= status < 400:
        # Not followed: credentials and personal data go only to the configured address.
        elsewhere = headers.get("location", "another address")[:_SHOWN_CHARACTERS]
        return Paused(f"the service is at {elsewhere} (HTTP {status}): set the region of the workspace", response)
    if status in _RETRY or status >= 500:
        after_s = _retry_after_s(headers)
        asks = "" if after_s is None else f", try again after {after_s:.0f} s"
        return RetryLater(f"HTTP {status}{asks}", response, after_s)
    if status == _TOO_LARGE or (status in _MALFORMED and _is_refusal(body)):
        return Split(f"HTTP {status}", response) if len(request.items) > 1 else _rejected(response)
    # An unknown delivery: it says nothing about other items, which are sent to another path.
    if status == _NOT_FOUND and request.path != BATCH_PATH and (_is_refusal(body) or not response.body):
        return _rejected(response)
    if status == _NOT_FOUND:
        return Paused("there is no Track API at this address (HTTP 404)", response)
    return Paused(_NOT_THE_API.format(status), response)


def _is_refusal(body: JsonObject | None) -> bool:
    """Whether a body has the form in which the Track API refuses: `{"errors": […]}`, or `{"meta": {…}}` of v1."""
    return body is not None and (isinstance(body.get("errors"), list) or isinstance(body.get("meta"), dict))


def _rejected(response: Response) -> Rejected:
    return Rejected(
        f"HTTP {response.status}: {response.body}" if response.body else f"HTTP {response.status}", response
    )


def _read_accepted(body: JsonObject | None, response: Response, count: int) -> list[Outcome]:
    """Return the outcomes of a 2xx response: Delivered for every item except those that it lists as faulty.

    `{}` accepts all; `{"errors": […]}`, usually with 207, all but the items that its faults name. When a fault names no
    item, nothing is known of any. Any other response is not one of the Track API.
    """
    faults = _faults(body) if response.status in _ACCEPTED else None
    if faults is None:
        return [Paused(_NOT_THE_API.format(response.status), response)] * count
    by_index = _by_index(faults, count)
    if by_index is None or (response.status == _MULTI_STATUS and not faults):
        return [RetryLater(f"HTTP {response.status} without the index of each fault", response)] * count
    outcomes: list[Outcome] = [Delivered()] * count
    for index, fault in by_index.items():
        text = encoded(fault)[:_KEPT_BYTES].decode("utf-8", "replace")
        refusal = Response(response.status, text, fault.get("batch_index"), response.request_id)
        outcomes[index] = Rejected(_fault_text(fault), refusal)
    return outcomes


def _faults(body: JsonObject | None) -> list[Any] | None:
    """Return the faults that the body of an acceptance lists; None when it does not have that form."""
    if body is None or (body and "errors" not in body):
        return None
    faults = body.get("errors")
    return faults if isinstance(faults, list) else [] if faults is None else None


def _by_index(faults: Sequence[Any], count: int) -> dict[int, JsonObject] | None:
    """Return the faults by the index of their items; None when one of them has no index of an item.

    The fault of a request with one item needs no index.
    """
    found: dict[int, JsonObject] = {}
    for fault in faults:
        index = fault.get("batch_index") if isinstance(fault, dict) else -1
        if index is None and count == 1:
            index = 0
        if type(index) is not int or not 0 <= index < count:
            return None
        found[index] = fault
    return found


def _fault_text(fault: JsonObject) -> str:
    """Return `field: message (reason)` of an item's fault, with the members that are texts."""
    field, message, reason = (_text(fault.get(name)) for name in ("field", "message", "reason"))
    text = ": ".join(part for part in (field, message) if part)
    return f"{text} ({reason})" if text and reason else text or reason or "refused without a reason"


def _text(value: Any) -> str:
    return value[:_KEPT_BYTES] if isinstance(value, str) else ""


def _request_id(headers: httpx.Headers) -> str | None:
    """Return the id that the service gave to the request; None without one, or with a text of another form."""
    value = headers.get("x-request-id", "")
    return value if _REQUEST_ID.fullmatch(value) else None


def _retry_after_s(headers: httpx.Headers) -> float | None:
    """Return the seconds of the first usable `Retry-After` header, given as a number or as a date; None without one."""
    # A proxy may add a header of its own. httpx would join the two, and a date has a comma too.
    found = map(_wait_s, headers.get_list("retry-after"))
    return next((seconds for seconds in found if seconds is not None), None)


def _wait_s(retry_after: str) -> float | None:
    """Return the seconds of one `Retry-After` header, within 0 and MAX_RETRY_AFTER_S; None when it is not usable."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            at = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
