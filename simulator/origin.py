"""Requests to `/_sim/…` that a web page may have made: any page can send requests to the loopback address."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from simulator.response import Response, json_response

_NOT_HERE = json_response({"error": "the Host must be localhost or an IP address"}, 421)
_NO_JSON = json_response({"error": "a change needs the header Content-Type: application/json"}, 415)


def refusal(method: str, headers: Iterable[tuple[bytes, bytes]]) -> Response | None:
    """Return the refusal of a request that a page of another site can make, None for other requests.

    Such a page reaches this address under a name of its own, or without asking for permission. For a request with a
    body of JSON, a browser asks first.
    """
    values = dict(headers)
    if not _is_address(values.get(b"host", b"").decode("latin-1")):
        return _NOT_HERE
    if method == "POST" and not values.get(b"content-type", b"").startswith(b"application/json"):
        return _NO_JSON
    return None


def _is_address(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ip_address(name))
    except ValueError:
        return False
