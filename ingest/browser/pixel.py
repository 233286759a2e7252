"""Segment's pixel: an event in the address of an image, for e-mails and pages without scripts.

Source: segmentio/segment-docs, src/connections/sources/catalog/libraries/server/pixel-tracking-api/index.md.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from ingest.errors import Refusal

_URL_SAFE = bytes.maketrans(b"-_ ", b"+/+")  # a plus sign that was not escaped is often read as a space


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
