"""Chains of message ids: which of two requests with equal times a client made first.

Segment's JavaScript clients draw message ids from one row of random bytes. For each id they move on by one or two bytes
(lukeed/uuid, src/index.js). So an id ends with the bytes with which the next one begins. That is an accident of these
clients: it decides only where times say nothing.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

UNCHAINED: Final = 5_000
"""The position of a request that is in no chain, of four digits."""

Tie = tuple[int, int]
"""When a request counts as sent (Unix ms), and its position among those that were sent then."""

_Times = tuple[str, tuple[int, int]]  # with the source

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$")
_UUID_LENGTH: Final = 36
_BYTES: Final = 16
_FIXED: Final = frozenset({6, 8})  # the bytes of an id that hold its version and variant
_MOST_TIES: Final = 16  # requests with equal times that are compared
_MOST_REQUESTS: Final = 10_000


class _Request(NamedTuple):
    tie: Tie
    first_id: str  # its end
    last_id: str


class IdChains:
    """Remembers the last 10,000 to 20,000 requests."""

    def __init__(self) -> None:
        self._recent: dict[_Times, tuple[_Request, ...]] = {}
        self._older: dict[_Times, tuple[_Request, ...]] = {}

    def tie(self, source: str, times: tuple[int, int], sent_at_ms: int, first_id: str, last_id: str) -> Tie:
        """Return what orders a request among those of the source with equal times.

        It counts as sent together with the request before or behind it in their chain, where that was received earlier,
        and is next to it. The reason: a client sends a request again with a later `sentAt`. `times` are the first and
        the last; the ids are those of the first and the last event.
        """
        key, first_id, last_id = (source, times), first_id[-_UUID_LENGTH:], last_id[-_UUID_LENGTH:]
        ties = self._recent.get(key) or self._older.get(key, ())
        tie = next((found for each in ties if (found := _next_to(each, first_id, last_id))), (sent_at_ms, UNCHAINED))
        if len(ties) < _MOST_TIES:
            self._recent[key] = (*ties, _Request(tie, first_id, last_id))
        if len(self._recent) >= _MOST_REQUESTS:
            self._recent, self._older = {}, self._recent
        return tie


def _next_to(other: _Request, first_id: str, last_id: str) -> Tie | None:
    sent_at_ms, position = other.tie
    if _is_next(other.last_id, first_id):
        return sent_at_ms, position + 1
    return (sent_at_ms, position - 1) if _is_next(last_id, other.first_id) else None


def _is_next(message_id: str, later_id: str) -> bool:
    """Whether the second id was drawn one or two bytes behind the first."""
    first, later = _UUID.search(message_id), _UUID.search(later_id)
    if first is None or later is None:
        return False
    row, later_row = (bytes.fromhex(each[0].replace("-", "")) for each in (first, later))
    return any(
        all(
            row[at + shift] == later_row[at]
            for at in range(_BYTES - shift)
            if at not in _FIXED and at + shift not in _FIXED
        )
        for shift in (1, 2)
    )
