"""Stable event ids: the same event always gets the same ULID, so that sending it twice is harmless.

Customer.io ignores an event whose `id`, a ULID, it has seen before; what is no ULID it replaces or refuses. So the id
is derived: 48 bits of the event's time in milliseconds, then 80 bits of a hash of its message id (ULID specification:
26 characters of Crockford's base 32, the first 10 for the time).
"""

from __future__ import annotations

import re
from hashlib import blake2b

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)  # ten bits to two characters
_SHIFTS = range(120, -1, -10)
_LARGEST_TIME_MS = (1 << 48) - 1
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.IGNORECASE)


def is_ulid(text: str) -> bool:
    """Whether the text is a ULID, in upper or lower case."""
    return len(text) == 26 and _ULID.fullmatch(text) is not None


def derived_ulid(time_ms: int, *parts: str) -> str:
    """Return the ULID of an event at `time_ms` (Unix milliseconds) that is told from others by `parts`."""
    hashed = blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=10).digest()
    number = min(max(time_ms, 0), _LARGEST_TIME_MS) << 80 | int.from_bytes(hashed, "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
