"""Operations that Customer.io accepts and will not apply, by its documented rules and what was sent before.

Customer.io answers them as all others, and says later or never what became of them. Here they are known beforehand.
Each is sent all the same, marked in the delivery log, and written to the log. It is counted by reason in one Redis hash
(`lanes.keys.UNAPPLIED`) when its event is settled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, cast

from delivery import identifier_changes
from delivery.identity_memory import Identities
from lanes import Queue, keys
from mapping import CHANGES_IDENTITY, Effect
from mapping.envelope import JsonObject

# Reason → what an operator reads. An identifier belongs to one person. One that is set is changed by cio_id only. A
# cio_id that is unknown or deleted names no person. Source: "How to identify people", Track API reference of
# Customer.io.
REASONS: Final = {
    "address_conflict": "the e-mail address belongs to another person",
    "cio_id_deleted": "the person with this cio_id was deleted",
}


def reason(effect: Effect, body: JsonObject, identities: Identities, *, is_conflict: bool) -> str:
    """Return why the operation, or the identifiers that it gives, will not be applied, a key of REASONS; else ''.

    `is_conflict`: the event gives a person an address that belongs to another one.
    """
    person = identities.key_of(body.get("identifiers", {}))
    is_deleted = person is not None and person.startswith("cio_id:") and person in identities.deleted_ms
    if is_deleted and effect not in CHANGES_IDENTITY:
        return "cio_id_deleted"
    if is_conflict and effect == "update":
        named = identifier_changes.identifiers(body, identities.scheme)
        if named.person and named.email:
            return "address_conflict"
    return ""


def add(queue: Queue, reasons: Iterable[str]) -> None:
    """Add an operation for each of the reasons to the totals."""
    pipeline = queue.client.pipeline(transaction=True)
    for name, count in Counter(reasons).items():
        pipeline.hincrby(keys.UNAPPLIED.of(queue.name), name, count)
    pipeline.execute()


def totals(queue: Queue) -> dict[str, int]:
    """Return the number of such operations since the queue was created, by reason."""
    stored = cast(dict[bytes, bytes], queue.client.hgetall(keys.UNAPPLIED.of(queue.name)))
    return {name.decode(): int(count) for name, count in sorted(stored.items())}
