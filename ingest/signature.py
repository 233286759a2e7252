"""The signature of Segment's webhook: the hexadecimal HMAC-SHA1 of the raw body with a shared secret.

Of an array, Segment signs the raw text of the first element only (segmentio/segment-docs,
src/connections/destinations/catalog/webhooks/index.md, "Authentication"). The other elements are therefore unsigned;
docs/security.md states the consequences.
"""

from __future__ import annotations

import hmac
import json

_WHITE_SPACE = " \t\r\n"


def is_signed(body: bytes, signature: str, secret: str) -> bool:
    """Whether `signature`, in either case, is that of the raw `body`; False for a body that cannot be read as JSON."""
    text = signed_text(body)
    if text is None:
        return False
    expected = hmac.new(secret.encode(), text, "sha1").hexdigest()
    return hmac.compare_digest(expected.encode(), signature.strip().lower().encode("utf-8", "replace"))


def signed_text(body: bytes) -> bytes | None:
    """Return the part of the body that is signed: all of it, or the raw first element of an array.

    None when the body is not UTF-8, or an array whose first element is not JSON.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    start = _after_white_space(text, 0)
    if text[start : start + 1] != "[":
        return body
    start = _after_white_space(text, start + 1)
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return text[start:end].encode()


def _after_white_space(text: str, start: int) -> int:
    while text[start : start + 1] and text[start] in _WHITE_SPACE:
        start += 1
    return start
