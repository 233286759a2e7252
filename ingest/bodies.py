"""Bodies of requests: read, uncompressed and parsed, within one limit of size.

The limit is that of a batch in Segment's HTTP API, 500 KB. Source: segmentio/segment-docs,
src/connections/sources/catalog/libraries/server/http-api/index.md, "Max request size".
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Final

import orjson

from ingest import partial_json
from ingest.compression import ENCODINGS, uncompressed
from ingest.errors import Disconnected, Refusal
from mapping.envelope import utf8_fault

MAX_BODY_BYTES: Final = 500 * 1024
_TOO_LARGE = f"the body must have at most {MAX_BODY_BYTES:,} bytes"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# Numbers that the parser rounds have 18 characters or more: integers beyond 64 bits, others beyond 2^53.
_NUMBER = rb"(-?[0-9][0-9.eE+-]{17,63})"
# An identity with such a number. In JSON no string contains these quotes without a backslash.
_LONG_IDENTITY = re.compile(
    rb'("(?:userId|anonymousId|previousId|groupId|messageId|objectId|id)"[ \t\r\n]*:[ \t\r\n]*)'
    rb"%b(?=[ \t\r\n]*[,}])" % _NUMBER
)
# All these names end in `d`. A search that begins with a fixed text takes a quarter of the time. The first one finds
# nothing in a body as JavaScript writes it, if all ids are texts, and takes half the time of the other.
_MAY_BE_NO_TEXT = re.compile(rb'd"[ \t\r\n:](?!")')
_MAY_BE_LONG_IDENTITY = re.compile(rb'd"[ \t\r\n]*:[ \t\r\n]*%b' % _NUMBER)
# One half of a surrogate pair, or both, as escapes. The first group holds escaped backslashes.
_SURROGATES = re.compile(
    rb"(?<!\\)((?:\\\\)*+)"
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_PAIR_BYTES = 12
_MOST_DIGITS = 64  # of an identity

Receive = Callable[[], Awaitable[Any]]


async def read(receive: Receive, encoding: str) -> bytes:
    """Return the whole body, uncompressed. `encoding` is the header `Content-Encoding`, empty without one.

    Raises Refusal: 413 when the body has more than MAX_BODY_BYTES, compressed or not; 415 for an unknown encoding. The
    status is 400 when the body is incomplete or does not have the encoding that the header states.
    """
    received: bytes | bytearray = b""  # mostly all of it comes at once, and is not copied
    is_complete = False
    while not is_complete:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        if received and type(received) is bytes:
            received = bytearray(received)
        received += message.get("body", b"")
        if len(received) > MAX_BODY_BYTES:
            raise Refusal(413, _TOO_LARGE)
        is_complete = not message.get("more_body")
        del message  # while the next one is under way, the body is in memory once
    name = encoding.strip().lower()
    if name in ENCODINGS:
        return uncompressed(bytes(received), name, MAX_BODY_BYTES)
    if name in ("", "identity"):
        return bytes(received)
    raise Refusal(415, f"Content-Encoding: must be gzip, deflate or absent, not {encoding}")


class NotJson(Refusal):
    """A body that is not JSON. Its message has the place of the error."""

    def __init__(self, message: str, body: bytes) -> None:
        super().__init__(400, message)
        self.body = body  # with all digits, and without halves of surrogate pairs


def parsed(body: bytes) -> Any:
    """Return the JSON value of the body. Raises NotJson.

    Whole numbers that identify people keep all of their digits: those that the parser would round become strings. A
    half of a surrogate pair becomes U+FFFD. NUL bytes around the body are ignored.
    """
    received, body = body, body.removeprefix(_BYTE_ORDER_MARK)
    if _MAY_BE_NO_TEXT.search(body) and _MAY_BE_LONG_IDENTITY.search(body):
        body = _LONG_IDENTITY.sub(_with_digits, body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        fault = error
    body = _SURROGATES.sub(_without_halves, body).strip(b" \t\r\n\0")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise NotJson(_described(received, fault), body) from None


def parsed_or_partly(body: bytes) -> Any:
    """Return the JSON value of the body; of a batch that is not JSON, what `read_partly` does. Raises NotJson."""
    try:
        return parsed(body)
    except NotJson as fault:
        return read_partly(fault)


def read_partly(fault: NotJson) -> Any:
    """Return what can be read of a batch that is not JSON: its events one by one, those that are not JSON as
    `partial_json.Unreadable`. Raises `fault` when nothing can be."""
    try:
        return partial_json.read(fault.body)
    except ValueError:
        raise fault from None


def _described(body: bytes, fault: orjson.JSONDecodeError) -> str:
    return f"the body is not JSON: {utf8_fault(body) or fault}"


def _with_digits(identity: re.Match[bytes]) -> bytes:
    """Return the member with its number as a string of digits; unchanged when the number is not a whole one."""
    try:
        number = Decimal(identity[2].decode())
    except ArithmeticError:
        return identity[0]
    if number.adjusted() >= _MOST_DIGITS or number != number.to_integral_value():
        return identity[0]
    return identity[1] + b'"%d"' % int(number)  # `0e-99999999` has that many digits in other forms


def _without_halves(escape: re.Match[bytes]) -> bytes:
    return escape[0] if len(escape[2]) == _PAIR_BYTES else escape[1] + rb"\ufffd"
