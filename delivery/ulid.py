"""Stable event ids: the same event always gets the same ULID, so that sending it twice is harmless.

Customer.io ignores an event whose `id`, a ULID, it has seen before; what is no ULID it replaces or refuses. So the id
is derived: 48 bits of the event's time in milliseconds, then 80 bits of a hash of its message id (ULID specification:
26 characters of Crockford's base 32, the first 10 for the time).
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)  # ten bits to two characters
_HASH = blake2b(digest_size=10)  # a copy costs less than making one
_LARGEST_TIME_MS = (1 << 48) - 1
_LAST_40_BITS = (1 << 40) - 1
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.IGNORECASE)


def is_ulid(text: str) -> bool:
    """Whether the text is a ULID, in upper or lower case."""
    return len(text) == 26 and _ULID.fullmatch(text) is not None


def derived_ulid(time_ms: int, *parts: str) -> str:
    """Return the ULID of an event at `time_ms` (Unix milliseconds) that is told from others by `parts`."""
    hashed = _HASH.copy()
    hashed.update("\0".join(parts).encode("utf-8", "surrogatepass"))
    number = int.from_bytes(hashed.digest(), "big")
    return _time(time_ms) + _characters(number >> 40) + _characters(number)


@lru_cache(maxsize=1024)  # the events of one second have the same time
def _time(time_ms: int) -> str:
    number = min(max(time_ms, 0), _LARGEST_TIME_MS)
    return _PAIRS[number >> 40] + _characters(number)


def _characters(number: int) -> str:
    """Return the last 40 bits of the number as eight characters."""
    number &= _LAST_40_BITS
    return f"{_PAIRS[number >> 30]}{_PAIRS[number >> 20 & 1023]}{_PAIRS[number >> 10 & 1023]}{_PAIRS[number & 1023]}"
