"""Responses: what the endpoint sends back, with the headers that let pages of every origin read it (CORS)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ingest.errors import Refusal
from mapping.envelope import JsonObject

Header = tuple[bytes, bytes]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

_READABLE: Final = (b"access-control-expose-headers", b"retry-after")
_ANY_ORIGIN: Final = (b"access-control-allow-origin", b"*")
_WITH_COOKIES: Final = ((b"access-control-allow-credentials", b"true"), (b"vary", b"origin"))
_USUAL_HEADERS = "authorization, content-type, content-encoding"
# The smallest GIF: one transparent pixel.
_PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")


@dataclass(frozen=True, slots=True)
class Response:
    """A response with a body of the type `content_type`."""

    status: int
    body: bytes = b""
    content_type: bytes = b"application/json"
    headers: tuple[Header, ...] = ()


def json_response(status: int, document: JsonObject, headers: tuple[Header, ...] = ()) -> Response:
    """Return a response with the document as its JSON body."""
    return Response(status, orjson.dumps(document), headers=headers)


SUCCESS: Final = json_response(200, {"success": True})
PIXEL: Final = Response(200, _PIXEL, b"image/gif", ((b"cache-control", b"no-store"),))


def refused(refusal: Refusal, rejected: list[tuple[int, Refusal]] | None = None) -> Response:
    """Return `{"success": false, "code", "message", "error", "rejected"?}` and, when it has a time, `Retry-After`.

    `rejected` are the events of the request with their index; `refusal` is then that of the first of them.
    """
    faults = [each.json(index) for index, each in rejected or ()]
    error = faults[0] if faults else refusal.json()
    document = {"success": False, "code": refusal.code, "message": refusal.message, "error": error}
    after = ((b"retry-after", b"%d" % refusal.retry_after_s),) if refusal.retry_after_s else ()
    return json_response(refusal.status, document | ({"rejected": faults} if faults else {}), after)


def preflight(asked: str) -> Response:
    """Return the answer to the preflight request of a browser.

    `asked` is the header `Access-Control-Request-Headers`. All of these headers are allowed: SDKs, consent tools and
    proxies add their own, and none of them changes what a request may do.
    """
    allowed = (
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-allow-headers", (asked or _USUAL_HEADERS).encode("latin-1")),
        (b"access-control-max-age", b"86400"),
    )
    return Response(204, headers=allowed)


def headers(response: Response, origin: bytes = b"") -> list[Header]:
    """Return all headers of the response.

    `origin` is the page that sent the request, empty when the response is for all pages. The page may send cookies with
    its events, as analytics.js does with `credentials`. Nothing here reads them. A browser lets no page do so that is
    not named.
    """
    allowed = ((b"access-control-allow-origin", origin), *_WITH_COOKIES) if origin else (_ANY_ORIGIN,)
    return [
        (b"content-type", response.content_type),
        (b"content-length", b"%d" % len(response.body)),
        *allowed,
        _READABLE,
        *response.headers,
    ]


async def write(send: Send, response: Response, origin: bytes) -> None:
    """Send the response to the client; `origin`: see `headers`."""
    try:
        start = {"type": "http.response.start", "status": response.status, "headers": headers(response, origin)}
        await send(start)
        await send({"type": "http.response.body", "body": response.body})
    except RuntimeError:
        # uvloop does not write to a connection that the client has reset. The server is told of it in the next turn of
        # the loop, and then expects no response.
        await asyncio.sleep(0)
