"""Tokens: the secrets with which people sign in, one or more for each role. Settings keep their scrypt hashes only.

An entry of SEGUE_CONSOLE_TOKENS is `ROLE:SALT:HASH`, the last two in hexadecimal.
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import scrypt, sha256
from typing import Final, cast

from console.web.access import Role

_COST: Final = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}
_LONGEST: Final = 200


def make(role: Role) -> tuple[str, str]:
    """Return a new token and its entry."""
    token, salt = secrets.token_urlsafe(32), secrets.token_bytes(16)
    return token, f"{role}:{salt.hex()}:{_hash(token, salt).hex()}"


def entry_of(token: str, entries: str) -> str | None:
    """Return the entry of this token, None without one."""
    if not token or len(token) > _LONGEST:
        return None
    for entry in entries.split():
        _, salt, expected = entry.split(":")
        if hmac.compare_digest(_hash(token, bytes.fromhex(salt)), bytes.fromhex(expected)):
            return entry
    return None


def role_of(entry: str) -> Role:
    """Return the role of an entry."""
    return cast(Role, entry.partition(":")[0])


def mark_of(entry: str) -> str:
    """Return a text that names the entry in a session, which ends when the entry is removed."""
    return sha256(entry.encode()).hexdigest()[:16]


def _hash(token: str, salt: bytes) -> bytes:
    return scrypt(token.encode(), salt=salt, **_COST)
