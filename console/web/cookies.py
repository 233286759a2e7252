"""Signed cookies: what the console knows of a browser between two requests. No process keeps a session.

A value is `PAYLOAD.SIGNATURE`, both in base64: a JSON object with its end in Unix seconds, and an HMAC-SHA256 with the
key that all console processes share through Redis.
"""

from __future__ import annotations

import binascii
import hmac
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final, cast

import orjson
import redis

from lanes import keys

SESSION: Final = "segue_session"
REVEAL: Final = "segue_reveal"
SEEN: Final = "segue_seen"
SESSION_S: Final = 12 * 3600
REVEAL_S: Final = 15 * 60
SEEN_S: Final = 90 * 86_400


def secret(client: redis.Redis) -> bytes:
    """Return the key of the signatures; the first process makes it. A full Redis takes no command that may write."""
    kept = client.get(keys.CONSOLE_SECRET.name)
    if kept is None:
        client.set(keys.CONSOLE_SECRET.name, secrets.token_bytes(32), nx=True)
        kept = client.get(keys.CONSOLE_SECRET.name)
    return cast(bytes, kept)


def signed(key: bytes, purpose: str, content: dict[str, Any], lasts_s: int) -> str:
    """Return the value of the cookie `purpose` with this content."""
    payload = urlsafe_b64encode(orjson.dumps({**content, "until_s": int(time.time()) + lasts_s})).decode()
    return f"{payload}.{_signature(key, purpose, payload)}"


def content_of(key: bytes, purpose: str, value: str | None) -> dict[str, Any] | None:
    """Return the content of a cookie; None when it is absent, forged, of another purpose, or has ended."""
    payload, _, signature = (value or "").partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(key, purpose, payload).encode()):
        return None
    try:
        content: dict[str, Any] = orjson.loads(urlsafe_b64decode(payload))
    except (ValueError, binascii.Error):
        return None
    return content if content["until_s"] > time.time() else None


def _signature(key: bytes, purpose: str, payload: str) -> str:
    return urlsafe_b64encode(hmac.digest(key, f"{purpose}.{payload}".encode(), "sha256")).decode().rstrip("=")
