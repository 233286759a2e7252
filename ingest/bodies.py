"""Bodies of requests: read, uncompressed and parsed, within one limit of size.

The limit is that of a batch in Segment's HTTP API, 500 KB (segmentio/segment-docs,
src/connections/sources/catalog/libraries/server/http-api/index.md, "Max request size").
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson

from ingest.errors import Refusal

MAX_BODY_BYTES: Final = 500 * 1024
_TOO_LARGE = f"the body must have at most {MAX_BODY_BYTES:,} bytes"
_GZIP = 31  # zlib's number for "a gzip header and the largest window"

Receive = Callable[[], Awaitable[Any]]


async def read(receive: Receive, encoding: str) -> bytes:
    """Return the whole body, uncompressed. `encoding` is the header `Content-Encoding`, empty without one.

    Raises Refusal: 413 when the body has more than MAX_BODY_BYTES, compressed or not; 415 for an unknown encoding; 400
    when the body is incomplete or is not gzip although the header says so.
    """
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "the body is incomplete: the connection was closed")
        body += bytes(message.get("body", b""))
        if len(body) > MAX_BODY_BYTES:
            raise Refusal(413, _TOO_LARGE)
        if not message.get("more_body"):
            break
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip":
            return _uncompressed(body)
    raise Refusal(415, f"Content-Encoding: must be gzip or absent, not {encoding}")


def parsed(body: bytes) -> Any:
    """Return the JSON value of the body; raise Refusal (400) with the place of the error when it is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"the body is not JSON: {error}") from None


def _uncompressed(body: bytes) -> bytes:
    try:
        decompressor = zlib.decompressobj(_GZIP)
        plain = decompressor.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise Refusal(400, "the body is not gzip, but Content-Encoding is gzip") from None
    if len(plain) > MAX_BODY_BYTES:
        raise Refusal(413, f"{_TOO_LARGE} after decompression")
    if not decompressor.eof:
        raise Refusal(400, "the gzip body is incomplete")
    return plain
