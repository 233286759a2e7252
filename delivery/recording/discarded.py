"""Record for the ledger that events left the queue without a worker: an operator discarded them, or a privacy request.

What `forgotten` erases is not recorded. A row would have the sequence and the time of an event, and nothing of that
person is to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, Protocol
from uuid import uuid4

from redis.exceptions import OutOfMemoryError

from delivery.recording import entries, ledger
from delivery.recording.entries import Packer, StoredItem
from lanes import Queue, keys
from lanes.clock import machine_ms
from logs import events as log
from logs.causes import cause
from mapping.envelope import readable_message_key

_ITEMS: Final = 500  # of an entry


class QueueEvent(Protocol):
    """An event as it was in the queue."""

    @property
    def sequence(self) -> int:
        """Its number in the queue."""

    @property
    def accepted_at_ms(self) -> int:
        """When ingest accepted it, in Unix milliseconds."""

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The digests of its ordering keys."""

    @property
    def body(self) -> bytes:
        """The event as `mapping.envelope` packs it."""


def record(queue: Queue, events: Iterable[QueueEvent], fate: str, reason: str) -> None:
    """Record the fate of events that were discarded, where there is a ledger. `fate` and `reason`: see `lanes.fates`.

    While Redis is full nothing is recorded.
    """
    if not ledger.is_kept(queue):
        return
    items, packer = (_item(event, fate, reason) for event in events), Packer(uuid4().hex)
    while some := list(islice(items, _ITEMS)):
        try:
            queue.client.lpush(keys.LOG.of(queue.name), _packed(packer, some))
        except OutOfMemoryError as error:
            log.REQUESTS_UNRECORDED.write(count=len(some), destination=queue.name, error=cause(error))


def _packed(packer: Packer, items: Sequence[StoredItem]) -> bytes:
    at_ms = machine_ms()
    head = {"path": None, "worker": "", "claimed_ms": at_ms, "sent_ms": at_ms, "responded_ms": None}
    return packer.packed(at_ms, head, items, ())


def _item(event: QueueEvent, fate: str, reason: str) -> StoredItem:
    event_columns = entries.event_columns(event.sequence, event.accepted_at_ms, event.keys)
    return event_columns, readable_message_key(event.body), entries.columns(reason, "", fate)
