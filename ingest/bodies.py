"""Bodies of requests: read within their limit, unzipped within it, parsed."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson

from ingest.errors import Refusal

MAX_BODY_BYTES: Final = 500 * 1024
_TOO_LARGE = f"the body must not have more than {MAX_BODY_BYTES:,} bytes"
_GZIP = 31  # zlib's number for "a gzip header and the largest window"

Receive = Callable[[], Awaitable[Any]]


async def read(receive: Receive, encoding: str) -> bytes:
    """Return the whole body, unzipped; raise Refusal when it is too large or not gzip though it says so."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "the body ended too early")
        body += bytes(message.get("body", b""))
        if len(body) > MAX_BODY_BYTES:
            raise Refusal(413, _TOO_LARGE)
        if not message.get("more_body"):
            break
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip":
            return _unzipped(body)
    raise Refusal(415, f"Content-Encoding: {encoding} is not understood; send gzip, or none")


def parsed(body: bytes) -> Any:
    """Return the JSON value that the body is; raise Refusal saying where it is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"the body is not JSON: {error}") from None


def _unzipped(body: bytes) -> bytes:
    try:
        unzip = zlib.decompressobj(_GZIP)
        plain = unzip.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise Refusal(400, "the body is not gzip, though Content-Encoding says so") from None
    if len(plain) > MAX_BODY_BYTES:
        raise Refusal(413, _TOO_LARGE)
    if not unzip.eof:
        raise Refusal(400, "the gzip body ends too early")
    return plain
