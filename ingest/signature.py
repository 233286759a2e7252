"""The signature of Segment's webhook: hex HMAC-SHA1 of the raw body with a shared secret.

When the body is an array, Segment signs the raw text of its first element only, so the others are unsigned; it is
checked as it is made. docs/security.md says what that means.
"""

from __future__ import annotations

import hmac
import json

_WHITE_SPACE = " \t\r\n"


def is_signed(body: bytes, signature: str, secret: str) -> bool:
    """Return whether `signature` is that of `body`; what is no JSON is not signed."""
    text = signed_text(body)
    if text is None:
        return False
    expected = hmac.new(secret.encode(), text, "sha1").hexdigest()
    return hmac.compare_digest(expected.encode(), signature.strip().lower().encode("utf-8", "replace"))


def signed_text(body: bytes) -> bytes | None:
    """Return the part of the body that Segment signs: all of it, or the first element of an array as it is written."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    start = _skipped(text, 0)
    if text[start : start + 1] != "[":
        return body
    start = _skipped(text, start + 1)
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return text[start:end].encode()


def _skipped(text: str, start: int) -> int:
    while text[start : start + 1] and text[start] in _WHITE_SPACE:
        start += 1
    return start
