"""Packing operations into requests: `/api/v2/batch` by bytes and count, every other path one operation a request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson

from mapping import Effect, Operation
from mapping.envelope import JsonObject, encoded
from mapping.operation import BATCH_PATH, ENTITY_PATH

# The service accepts bodies of up to 500,000 bytes, with the brackets.
MAX_BODY_BYTES: Final = 490_000
_ENVELOPE_BYTES = len(b'{"batch":[]}')


class Item(NamedTuple):
    """One operation of one event, encoded once: an attempt sends these very bytes again.

    Nothing else is kept of the operation, as a claim has hundreds of them.
    """

    sequence: int  # of the event
    operation_index: int  # among the operations of the event
    action: str
    effect: Effect
    path: str
    data: bytes  # JSON
    message_id: str = ""  # of the event: SOURCE:MESSAGE ID
    person: bytes = b""  # of an update: the digest under which recent attributes of its person are remembered
    at_ms: int = 0  # of such an update: its client time
    own: bytes = b""  # JSON without the attributes of other updates that `data` repeats, if it repeats any
    repeated: bytes = b""  # recent attributes of its person, as `delivery.recent_attributes` stores them
    unapplied: str = ""  # why Customer.io will not apply it, of `delivery.unapplied`
    subscription: int = -1  # the index of the subscription that made it; -1: none did


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, with the items that it carries in order."""

    path: str
    items: tuple[Item, ...]

    def body(self) -> bytes:
        """Return the body to send, as JSON."""
        if self.path == BATCH_PATH:
            return b'{"batch":[' + b",".join([item.data for item in self.items]) + b"]}"
        return self.items[0].data

    def halves(self) -> tuple[Request, Request]:
        """Return the same items as two requests, in order."""
        middle = len(self.items) // 2
        return Request(self.path, self.items[:middle]), Request(self.path, self.items[middle:])


class TooLarge(Exception):
    """An operation of an event is larger than any request may be."""


def encode(sequence: int, operation_index: int, operation: Operation, body: JsonObject, message_id: str = "") -> Item:
    """Return the item of an operation. `body` is sent in place of the operation's own, which lacks what Segue adds.

    Raises TooLarge: a mapping can make thousands of times as much of an event.
    """
    subscription, action, effect, path, _, _ = operation
    data = json_of(body)
    if len(data) > MAX_BODY_BYTES:
        most = f"a request to Customer.io has at most {MAX_BODY_BYTES:,}"
        raise TooLarge(f"the operation of {action} has {len(data):,} bytes, and {most}")
    # All fields in their order: this takes half the time of `Item(…)`.
    values = (sequence, operation_index, action, effect, path, data, message_id, b"", 0, b"", b"", "", subscription)
    return tuple.__new__(Item, values)


def json_of(body: JsonObject) -> bytes:
    """Return the body as JSON; a copy, as a result of orjson occupies 4 KB however short it is."""
    try:
        return b"%b" % orjson.dumps(body)
    except TypeError:  # an integer beyond 64 bits
        return encoded(body)


def pack(items: Iterable[Item], max_items: int) -> Iterator[Request]:
    """Yield requests that carry the items in their order, each within MAX_BODY_BYTES and `max_items`."""
    batch: list[Item] = []
    size = _ENVELOPE_BYTES
    for item in items:
        if item.path != ENTITY_PATH:
            yield Request(item.path, (item,))
            continue
        if batch and (len(batch) == max_items or size + len(item.data) > MAX_BODY_BYTES):
            yield Request(BATCH_PATH, tuple(batch))
            batch, size = [], _ENVELOPE_BYTES
        batch.append(item)
        size += len(item.data) + 1
    if batch:
        yield Request(BATCH_PATH, tuple(batch))
