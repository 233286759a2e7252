"""The signature of Segment's webhook: the hexadecimal HMAC-SHA1 of the raw body with a shared secret.

Of an array, Segment signs the raw text of the first element only, or all of it. Sources: segmentio/segment-docs,
src/connections/destinations/catalog/webhooks/index.md, "Authentication"; segmentio/action-destinations, issue 3989. The
signature of the whole body is the stronger one: with the other, all elements but the first are unsigned.
docs/security.md states the consequences.
"""

from __future__ import annotations

import hmac
import json
from typing import Literal

_WHITE_SPACE = " \t\r\n"

Signed = Literal["body", "first"]  # what a signature covers: the whole body, or the first element of an array


def signed_part(body: bytes, signature: str, secret: str) -> Signed | None:
    """Return what `signature`, in either case, is the signature of; None when it is that of neither."""
    given = signature.strip().lower().encode("utf-8", "replace")
    if _is_of(body, given, secret):
        return "body"
    element = first_element(body)
    return "first" if element is not None and _is_of(element, given, secret) else None


def first_element(body: bytes) -> bytes | None:
    """Return the raw first element of an array; None when the body is no array or the element is not JSON."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    start = _after_white_space(text, 0)
    if text[start : start + 1] != "[":
        return None
    start = _after_white_space(text, start + 1)
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return text[start:end].encode()


def _is_of(text: bytes, signature: bytes, secret: str) -> bool:
    return hmac.compare_digest(hmac.new(secret.encode(), text, "sha1").hexdigest().encode(), signature)


def _after_white_space(text: str, start: int) -> int:
    while text[start : start + 1] and text[start] in _WHITE_SPACE:
        start += 1
    return start
