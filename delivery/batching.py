"""Packing operations into the requests that carry them: `/api/v2/batch` by bytes and count, all else by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from mapping import Effect, Operation
from mapping.envelope import JsonObject
from mapping.operation import BATCH_PATH, ENTITY_PATH

# The service takes bodies of up to 500,000 bytes, with the brackets.
MAX_BODY_BYTES = 490_000
_ENVELOPE_BYTES = len(b'{"batch":[]}')


class Item(NamedTuple):
    """One operation of one event, encoded once: these very bytes are sent, and sent again. Nothing else is kept of the
    operation, as a claim has hundreds of them."""

    sequence: int  # of the event
    place: int  # which of the event's operations it is
    action: str
    effect: Effect
    path: str
    data: bytes
    message_id: str = ""  # of the event, behind its source
    person: str = ""  # of an update: the key of whom it is about


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the service, with the items it carries in order."""

    path: str
    items: tuple[Item, ...]

    def body(self) -> bytes:
        """Return the bytes to send."""
        if self.path == BATCH_PATH:
            return b'{"batch":[' + b",".join(item.data for item in self.items) + b"]}"
        return self.items[0].data

    def halves(self) -> tuple[Request, Request]:
        """Return the same items as two requests, in order."""
        middle = len(self.items) // 2
        return Request(self.path, self.items[:middle]), Request(self.path, self.items[middle:])


def encode(
    sequence: int, place: int, operation: Operation, body: JsonObject, message_id: str = "", person: str = ""
) -> Item:
    """Return the operation as the bytes that stand for it on the wire."""
    return Item(sequence, place, operation.action, operation.effect, operation.path, written(body), message_id, person)


def written(body: JsonObject) -> bytes:
    """Return the body as JSON; a copy, as what orjson returns occupies 4 KB however short it is."""
    return b"%b" % orjson.dumps(body)


def pack(items: Iterable[Item], max_items: int) -> Iterator[Request]:
    """Yield requests that carry `items` in their order, each within the service's bytes and `max_items`."""
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
