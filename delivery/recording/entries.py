"""The entries of the delivery log, as they are stored.

An entry begins with 13 digits, the time in ms at which the request was sent. Then come 26 characters, its id, a ULID.
Lines follow, compressed with Zstandard. The first one is a JSON object
`{"path", "worker", "claimed_ms", "sent_ms", "responded_ms", "bytes"}`. Then comes a line for each item, in so many
bytes, and then the body of each item as it was sent. The values of an item are separated by tabs:

    SEQUENCE  ACCEPTED AT (ms)  DIGESTS  SOURCE  MESSAGE ID  REASON  DETAIL  OUTCOME

DIGESTS are those of the event's ordering keys, in hexadecimal. The last three are empty for an item that was simply
accepted. Of another one they are the reason why not; why it will not be applied, if accepted in vain; its outcome, of
OUTCOMES. The second is a key of `delivery.unapplied.REASONS`. An entry of decisions has `null` for `path` and
`responded_ms`, and no bodies. Its items have a fate of `lanes.fates` for an outcome, with the reason, and what the
reason says in detail.

A value is empty or has no tab and no end of a line. Where a text has one, or a backslash, these are written with a
backslash in all lines, and the object has `"escaped": true`. So lines become columns without an object for each value.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Final, NamedTuple

import orjson
from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError

from delivery.outcomes import Delivered, Outcome, Paused, Rejected, RetryLater, Shadowed, Split
from delivery.ulid import derived_ulid
from lanes import ClaimedEvent
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
DELIVERED: Final = OUTCOMES[Delivered]
COLUMNS: Final = ("sequence", "accepted_ms", "digests", "source", "message_id", "reason", "detail", "outcome")
_TAB = "\t"
_LEVEL = 1  # half a microsecond for an event
_BODY_AT = TIME_DIGITS + ULID_CHARACTERS
_ESCAPES: Final = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_UNESCAPES: Final = {escaped: character for character, escaped in _ESCAPES.items()}
_ESCAPED, _TO_ESCAPE = re.compile(r"\\."), re.compile(r"[\\\t\n\r]")


class _Decompressor(threading.local):
    """A decompressor for each thread: threads must not share one, and a new one costs more than an entry."""

    def __init__(self) -> None:
        self.decompress = ZstdDecompressor().decompress


_decompressor = _Decompressor()

# The columns of the event, of `event_columns`; SOURCE:MESSAGE ID; the columns of the outcome, of `columns`.
StoredItem = tuple[str, str, str]


class LoggedItem(NamedTuple):
    """An item of a request, or a decision by which nothing was sent for an event."""

    sequence: int
    accepted_ms: int  # of Redis' clock
    digests: str  # of the event's ordering keys, 16 hexadecimal digits each, without a separator
    message_id: str  # SOURCE:MESSAGE ID
    reason: str | None  # why it was not accepted; of a decision: the reason of the fate
    detail: str | None  # why it is accepted in vain; of a decision: what the reason says in detail
    outcome: str  # of OUTCOMES; of a decision: a fate of `lanes.fates`
    body: bytes | None  # as sent, JSON; None: a decision

    def digest_list(self) -> list[bytes]:
        """Return the digests of the event's ordering keys."""
        joined = bytes.fromhex(self.digests)
        return [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]


@dataclass(frozen=True)
class Entry:
    """A request with its items, or decisions of one claim. Times are Unix milliseconds of the worker's clock."""

    id: str
    path: str | None  # None: decisions
    worker: str
    claimed_ms: int
    sent_ms: int  # when decisions were written
    responded_ms: int | None  # None: decisions
    lines: bytes  # of its items
    bodies: bytes  # a line for each; empty: decisions
    is_escaped: bool

    @cached_property
    def items(self) -> list[LoggedItem]:
        """The items. Raises ValueError: the entry is damaged."""
        bodies = self.bodies.split(b"\n") if self.bodies else repeat(None)
        return [
            _item(line, body, self.is_escaped)
            for line, body in zip(self.lines.decode().split("\n"), bodies, strict=bool(self.bodies))
        ]


class Packer:
    """Packs the entries of one claim. Their ids are derived from the claim's id and the number of the entry."""

    def __init__(self, claim_id: str) -> None:
        self._claim_id = claim_id
        self._count = 0
        self._compressor = ZstdCompressor(level=_LEVEL)  # its memory costs more than compressing an entry

    def packed(self, sent_ms: int, head: JsonObject, items: Sequence[StoredItem], bodies: Iterable[bytes]) -> bytes:
        """Return a new entry. `head` is its first line without `bytes`."""
        self._count += 1
        entry_id = derived_ulid(sent_ms, self._claim_id, str(self._count))
        return _joined(sent_ms, entry_id, head, items, bodies, self._compressor)


def event_columns(sequence: int, accepted_ms: int, keys: Iterable[bytes]) -> str:
    """Return the columns of an event with these ordering keys (digests)."""
    return f"{sequence}\t{accepted_ms}\t{b''.join(keys).hex()}"


def columns_by_sequence(events: Iterable[ClaimedEvent]) -> dict[int, str]:
    """Return what `event_columns` does for the events of a claim, by their sequences."""
    return {
        sequence: f"{sequence}\t{accepted_ms}\t{b''.join(keys).hex()}"
        for sequence, _, _, _, accepted_ms, keys, _ in events
    }


def columns(reason: str, detail: str, outcome: str) -> str:
    """Return the columns that follow the message id of an item. Empty texts stand for nothing."""
    return "\t".join(map(_escaped, (reason, detail, outcome)))


def outcome_columns(outcome: Outcome, unapplied: str) -> str:
    """Return the columns that follow the message id of an item that was sent."""
    if isinstance(outcome, Shadowed) or not isinstance(outcome, Delivered):
        return columns(outcome.reason, "", OUTCOMES[type(outcome)])
    return f"\t{unapplied}\t"


def refusal(outcome: str, reason: str | None) -> str | None:
    """Return why Customer.io has not got an item; None if it has. `outcome` and `reason` are those of the item."""
    if outcome == OUTCOMES[Delivered]:
        return None
    if outcome == OUTCOMES[Shadowed]:
        return f"not sent, a shadow event: {reason}" if reason else "not sent, a shadow event"
    return reason or outcome


def unpacked(packed: bytes, containing: bytes = b"") -> Entry | None:
    """Return the entry, None for a damaged one, and for one without this text, which is quick."""
    try:
        content = _decompressor.decompress(packed[_BODY_AT:])
        if containing not in content:
            return None
        first, _, text = content.partition(b"\n")
        head = orjson.loads(first)
        times = head["claimed_ms"], head["sent_ms"], head["responded_ms"]
        size = head["bytes"]
        lines, bodies = text[:size], text[size + 1 :]
        is_whole = len(lines) == size and (not bodies or lines.count(b"\n") == bodies.count(b"\n"))
        if not is_whole or lines.count(b"\t") != (len(COLUMNS) - 1) * (lines.count(b"\n") + 1):
            return None
        entry_id = id_of(packed).decode("ascii")
        return Entry(entry_id, head["path"], head["worker"], *times, lines, bodies, head.get("escaped", False))
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
    }
    items = [
        (
            event_columns(item.sequence, item.accepted_ms, item.digest_list()),
            item.message_id,
            columns(item.reason or "", item.detail or "", item.outcome),
        )
        for item in staying
    ]
    bodies = [item.body for item in staying if item.body is not None]
    return _joined(entry.sent_ms, entry.id, head, items, bodies, ZstdCompressor(level=_LEVEL))


def part_of(message_id: str) -> bytes:
    """Return a text that is in each entry with an item of this message id, which may have its source before it."""
    last = message_id.rpartition(":")[2]
    return b"" if _TO_ESCAPE.search(last) else last.encode("utf-8", "replace")


def unescaped(text: str) -> str:
    """Return a value of an escaped line."""
    return _ESCAPED.sub(lambda found: _UNESCAPES[found[0]], text)


def id_of(packed: bytes) -> bytes:
    """Return the id of an entry, of a damaged one as well."""
    return packed[TIME_DIGITS:_BODY_AT]


def sent_ms(packed: bytes) -> int:
    """Return when the request of a stored entry was sent, Unix milliseconds."""
    return int(packed[:TIME_DIGITS])


def _joined(
    sent_ms: int,
    entry_id: str,
    head: JsonObject,
    items: Sequence[StoredItem],
    bodies: Iterable[bytes],
    compressor: ZstdCompressor,
) -> bytes:
    lines = _lines(items)
    if (
        lines.count("\t") != (len(COLUMNS) - 1) * len(items)
        or lines.count("\n") != len(items) - 1
        or "\\" in lines
        or "\r" in lines
    ):
        head = {**head, "escaped": True}
        lines = _lines([(event, _escaped(message_id), outcome) for event, message_id, outcome in items])
    encoded = lines.encode()
    text = b"\n".join((orjson.dumps({**head, "bytes": len(encoded)}), encoded, *bodies))
    return b"%013d%b%b" % (sent_ms, entry_id.encode("ascii"), compressor.compress(text))


def _lines(items: Iterable[StoredItem]) -> str:
    return "\n".join(
        [f"{event}\t{message_id.replace(':', _TAB, 1)}\t{outcome}" for event, message_id, outcome in items]
    )


def _escaped(text: str) -> str:
    return _TO_ESCAPE.sub(lambda found: _ESCAPES[found[0]], text)


def _item(line: str, body: bytes | None, is_escaped: bool) -> LoggedItem:
    values = line.split("\t")
    sequence, accepted_ms, digests, source, message_id, reason, detail, outcome = (
        map(unescaped, values) if is_escaped else values
    )
    return LoggedItem(
        int(sequence),
        int(accepted_ms),
        digests,
        f"{source}:{message_id}",
        reason or None,
        detail or None,
        outcome or DELIVERED,
        body,
    )
