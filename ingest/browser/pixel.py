"""Pixels: an event in the address of an image, for e-mails and pages without scripts.

Segment's has the event as base64 (segmentio/segment-docs,
src/connections/sources/catalog/libraries/server/pixel-tracking-api/index.md). RudderStack's has a parameter for each
member, and its library for AMP pages sends it (rudderlabs/rudder-server, gateway/handle_http_pixel.go).
"""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes

import orjson

from ingest.errors import Refusal
from ingest.events import MAX_LEVELS
from mapping.envelope import JsonObject

_URL_SAFE = bytes.maketrans(b"-_ ", b"+/+")  # a plus sign that was not escaped is often read as a space


_CHANNEL: Final = "web"  # as RudderStack writes it


def body(query: bytes) -> bytes:
    """Return the JSON in the parameter `data`: base64 in either alphabet, with or without padding.

    Raises Refusal (400) when there is none.
    """
    for parameter in query.split(b"&"):
        name, _, value = parameter.partition(b"=")
        if name == b"data":
            encoded = unquote_to_bytes(value).translate(_URL_SAFE).rstrip(b"=")
            try:
                return base64.b64decode(encoded + b"=" * (-len(encoded) % 4))
            except binascii.Error:
                raise Refusal(400, "data: must be base64", "data") from None
    raise Refusal(400, "data: is missing", "data")


def body_of_members(query: bytes) -> bytes:
    """Return the JSON of the event whose members are the parameters: `context.page.url=…` is in an object in an object.

    Of two values of one member the first counts. A name has MAX_LEVELS levels at most: later dots belong to the last.
    """
    event: JsonObject = {"channel": _CHANNEL}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        *parents, last = name.split(".", MAX_LEVELS)
        members = event
        for parent in parents:
            members = members.setdefault(parent, {})
            if type(members) is not dict:
                break
        else:
            members.setdefault(last, value)
    anonymous_id = event.get("anonymousId")
    if type(anonymous_id) is str and anonymous_id[:1] == anonymous_id[-1:] == '"':
        event["anonymousId"] = anonymous_id[1:-1]  # AMP puts it into quotes
    return orjson.dumps(event)
