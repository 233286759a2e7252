"""The entries of the delivery log, as they are stored; `delivery.log` describes them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple

import orjson
from zstandard import ZstdCompressor, ZstdError, decompress

from delivery.outcomes import Delivered, Outcome, Paused, Rejected, RetryLater, Shadowed, Split
from delivery.ulid import derived_ulid
from lanes.keys import DIGEST_BYTES, TIME_DIGITS, ULID_CHARACTERS
from mapping.envelope import JsonObject

# The names of the outcomes of items.
OUTCOMES: Final[dict[type[Outcome], str]] = {
    Delivered: "delivered",
    Shadowed: "shadowed",
    Rejected: "rejected",
    RetryLater: "retry_later",
    Paused: "paused",
    Split: "split",
}
_DELIVERED: Final = (None, None, "delivered")
_SHORT: Final = 4  # values of an item that was simply accepted
_LEVEL = 1  # half a microsecond for an event
_BODY_AT = TIME_DIGITS + ULID_CHARACTERS

# [sequence, accepted at (ms), digests in hex, SOURCE:MESSAGE ID], and for some items [reason, unapplied, outcome].
StoredItem = Sequence[Any]


class LoggedItem(NamedTuple):
    """An item of a request, or a decision by which nothing was sent for an event."""

    sequence: int
    accepted_ms: int  # of Redis' clock
    digests: str  # of the event's ordering keys, 16 hexadecimal digits each, without a separator
    message_id: str  # SOURCE:MESSAGE ID
    reason: str | None  # why it was not accepted, or the text of a decision
    unapplied: str | None  # why it is accepted in vain, a key of `delivery.unapplied.REASONS`
    outcome: str  # of OUTCOMES, or how `lanes.fates` names the fate
    body: bytes | None  # as sent, JSON; None: a decision

    def digest_list(self) -> list[bytes]:
        """Return the digests of the event's ordering keys."""
        joined = bytes.fromhex(self.digests)
        return [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]


class Entry(NamedTuple):
    """A request with its items, or decisions of one claim. Times are Unix milliseconds of the worker's clock."""

    id: str
    path: str | None  # None: decisions
    worker: str
    claimed_ms: int
    sent_ms: int  # when decisions were written
    responded_ms: int | None  # None: decisions
    items: list[LoggedItem]


class Packer:
    """Packs the entries of one claim. Their ids are derived from the claim's id and the number of the entry."""

    def __init__(self, claim_id: str) -> None:
        self._claim_id = claim_id
        self._count = 0
        self._compressor = ZstdCompressor(level=_LEVEL)  # its memory costs more than compressing an entry

    def packed(self, sent_ms: int, head: JsonObject, bodies: Iterable[bytes]) -> bytes:
        """Return a new entry. `head` is its first line, `bodies` are those of its items."""
        self._count += 1
        entry_id = derived_ulid(sent_ms, self._claim_id, str(self._count))
        return _joined(sent_ms, entry_id, head, bodies, self._compressor)


def reason_and_outcome(outcome: Outcome, unapplied: str) -> StoredItem:
    """Return the values of a stored item that follow its message id."""
    if isinstance(outcome, Shadowed):
        return (outcome.reason or None, None, OUTCOMES[Shadowed])
    if isinstance(outcome, Delivered):
        return (None, unapplied, "delivered") if unapplied else ()
    return (outcome.reason, None, OUTCOMES[type(outcome)])


def refusal(outcome: str, reason: str | None) -> str | None:
    """Return why Customer.io has not got an item; None if it has. `outcome` and `reason` are those of the item."""
    if outcome == OUTCOMES[Delivered]:
        return None
    if outcome == OUTCOMES[Shadowed]:
        return f"not sent, a shadow event: {reason}" if reason else "not sent, a shadow event"
    return reason or outcome


def unpacked(packed: bytes) -> Entry | None:
    """Return the entry, None for a damaged one."""
    try:
        first, *bodies = decompress(packed[_BODY_AT:]).split(b"\n")
        head = orjson.loads(first)
        stored: list[list[Any]] = head["items"]
        items = [
            LoggedItem._make((*item, *_DELIVERED, body) if len(item) == _SHORT else (*item, body))
            for item, body in zip(stored, bodies or repeat(None, len(stored)), strict=True)
        ]
        times = head["claimed_ms"], head["sent_ms"], head["responded_ms"]
        return Entry(id_of(packed).decode("ascii"), head["path"], head["worker"], *times, items)
    except (ZstdError, ValueError, KeyError, TypeError):
        return None


def without(entry: Entry, going: Iterable[LoggedItem]) -> bytes | None:
    """Return the entry without these items, as it is stored; None when no item is left."""
    removed = {id(item) for item in going}
    staying = [item for item in entry.items if id(item) not in removed]
    if not staying:
        return None
    head = {
        "path": entry.path,
        "worker": entry.worker,
        "claimed_ms": entry.claimed_ms,
        "sent_ms": entry.sent_ms,
        "responded_ms": entry.responded_ms,
        "items": [item[:7] for item in staying],
    }
    bodies = [item.body for item in staying if item.body is not None]
    return _joined(entry.sent_ms, entry.id, head, bodies, ZstdCompressor(level=_LEVEL))


def id_of(packed: bytes) -> bytes:
    """Return the id of an entry, of a damaged one as well."""
    return packed[TIME_DIGITS:_BODY_AT]


def sent_ms(packed: bytes) -> int:
    """Return when the request of a stored entry was sent, Unix milliseconds."""
    return int(packed[:TIME_DIGITS])


def now_ms() -> int:
    """Return the time of this machine, Unix milliseconds."""
    return time.time_ns() // 1_000_000


def _joined(
    sent_ms: int, entry_id: str, head: JsonObject, bodies: Iterable[bytes], compressor: ZstdCompressor
) -> bytes:
    lines = b"\n".join((orjson.dumps(head), *bodies))
    return b"%013d%b%b" % (sent_ms, entry_id.encode("ascii"), compressor.compress(lines))
