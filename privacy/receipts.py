"""Receipts: the record that a person was erased, when, at whose request, and how much was removed.

A receipt contains no personal data. Identities are stored as keyed hashes, which show that two receipts are about the
same person.

Workers finish an erasure that has to wait for Customer.io, so a receipt has a state: *waiting* for the privacy request
to be sent, *sent*, *ledger* (rows of the person are left in the ledger, whose process removes them), *done*. A receipt
in the state *sent* contains the person until the last data outside of the ledger is removed.

The hash of a receipt has the fields `at_ms`, `requested_by`, `request`, `state`, `hashes`, `removed:KIND` (a count),
`file:PATH` of the ledger's files that were rewritten and, in the state *sent*, `person` and `before`. The kinds are
`events`, `dead_letters`, `spilled` (dead letters in spill files), `log` (entries of the delivery log), `ledger` (rows
of the ledger), `message_ids`, `replays` (filters of replays) and, for data that is remembered by ordering key, the name
of the Redis key, such as `merged`: see `privacy.purge`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import orjson

import mapping
from delivery.recording import ledger
from lanes import Queue, keys, suppression
from lanes.clock import machine_ms

# erase: Segue removes its own data. delete, suppress: Customer.io deletes or suppresses the person first.
Request = Literal["erase", "delete", "suppress"]
State = Literal["waiting", "sent", "ledger", "done"]
# A person, and the sequence before which events of the person are removed; None: all events are.
PersonBefore = tuple[mapping.Person, int | None]

_REMOVED, _FILE = "removed:", "file:"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt in its present state."""

    id: str
    at_ms: int
    requested_by: str  # operator@machine, or `source NAME` for a deletion request of Segment
    request: Request
    state: State
    hashes: tuple[str, ...]  # keyed hashes of the person's ordering keys, in hexadecimal
    removed: dict[str, int]  # kind → how many
    files: tuple[str, ...]  # of the ledger that were rewritten: their paths below its directory

    def json(self) -> dict[str, Any]:
        """Return the fields as JSON members."""
        return asdict(self)


def id_of(queue: Queue, message_key: str) -> str:
    """Return the id of the receipt for the privacy request with this message id."""
    return suppression.keyed_hash(suppression.secret(queue), message_key.encode("utf-8", "surrogatepass"))[:6].hex()


def begin(queue: Queue, receipt_id: str, *, requested_by: str, request: Request, digests: Iterable[bytes]) -> None:
    """Write a new receipt, unless it exists. `digests` are those of the person's ordering keys."""
    secret, now_ms = suppression.secret(queue), machine_ms()
    hashes = " ".join(sorted(suppression.keyed_hash(secret, digest).hex() for digest in digests))
    fields: dict[str, str | int] = {
        "at_ms": now_ms,
        "requested_by": requested_by,
        "request": request,
        "state": "waiting",
        "hashes": hashes,
    }
    with queue.client.pipeline(transaction=True) as pipeline:
        for name, value in fields.items():
            pipeline.hsetnx(_key(queue, receipt_id), name, str(value))
        pipeline.zadd(keys.RECEIPTS.of(queue.name), {receipt_id: now_ms}, nx=True)
        pipeline.execute()


def add(queue: Queue, receipt_id: str, removed: Counter[str]) -> None:
    """Add counts by kind to a receipt."""
    with queue.client.pipeline(transaction=True) as pipeline:
        for kind, count in removed.items():
            pipeline.hincrby(_key(queue, receipt_id), f"{_REMOVED}{kind}", count)
        pipeline.execute()


def add_file(queue: Queue, receipt_id: str, name: str) -> None:
    """Add a file of the ledger that is rewritten without the person."""
    queue.client.hset(_key(queue, receipt_id), f"{_FILE}{name}", "1")


def mark_sent(queue: Queue, receipt_id: str, person: mapping.Person, before: int | None) -> None:
    """Record that Customer.io accepted the privacy request. The data of the person is to be removed now; of events,
    those accepted before the sequence `before`, all without one."""
    fields = {"state": "sent", "person": orjson.dumps(asdict(person)), "before": "" if before is None else before}
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.hset(_key(queue, receipt_id), mapping=cast(dict[Any, Any], fields))
        pipeline.sadd(keys.ERASING.of(queue.name), receipt_id)
        pipeline.execute()


def unfinished(queue: Queue) -> list[str]:
    """Return the ids of the receipts in the state *sent*."""
    return sorted(name.decode() for name in cast(set[bytes], queue.client.smembers(keys.ERASING.of(queue.name))))


def person_of(queue: Queue, receipt_id: str) -> PersonBefore | None:
    """Return the arguments of `mark_sent`: the person and `before`. None in another state than *sent*."""
    person, before = cast(list[bytes | None], queue.client.hmget(_key(queue, receipt_id), ["person", "before"]))
    if person is None:
        return None
    identities = {kind: tuple(texts) for kind, texts in orjson.loads(person).items()}
    return mapping.Person(**identities), int(before) if before else None


def finish(queue: Queue, receipt_id: str) -> None:
    """Record that the erasure is done, or that only the ledger is left, and remove the person from the receipt."""
    state = "ledger" if ledger.is_erasing(queue, receipt_id) else "done"
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.hset(_key(queue, receipt_id), "state", state)
        pipeline.hdel(_key(queue, receipt_id), "person", "before")
        pipeline.srem(keys.ERASING.of(queue.name), receipt_id)
        pipeline.execute()


def read(queue: Queue, receipt_id: str) -> Receipt | None:
    """Return the receipt, None when there is none with this id.

    One that waits for the ledger is done when the ledger has nothing to erase for it: the ledger may have ended before
    it wrote that, or may have written it before `finish` did.
    """
    stored = cast(dict[bytes, bytes], queue.client.hgetall(_key(queue, receipt_id)))
    fields = {name.decode(): value.decode() for name, value in stored.items()}
    if "state" not in fields:
        return None
    removed = {name.removeprefix(_REMOVED): int(count) for name, count in fields.items() if name.startswith(_REMOVED)}
    return Receipt(
        id=receipt_id,
        at_ms=int(fields["at_ms"]),
        requested_by=fields["requested_by"],
        request=cast(Request, fields["request"]),
        state=_state(queue, receipt_id, cast(State, fields["state"])),
        hashes=tuple(fields["hashes"].split()),
        removed=dict(sorted(removed.items())),
        files=tuple(sorted(name.removeprefix(_FILE) for name in fields if name.startswith(_FILE))),
    )


def _state(queue: Queue, receipt_id: str, stored: State) -> State:
    return "done" if stored == "ledger" and not ledger.is_erasing(queue, receipt_id) else stored


def history(queue: Queue) -> list[Receipt]:
    """Return all receipts, the newest first."""
    ids = cast(list[bytes], queue.client.zrevrange(keys.RECEIPTS.of(queue.name), 0, -1))
    return [found for name in ids if (found := read(queue, name.decode())) is not None]


def earlier(queue: Queue, receipt: Receipt) -> list[str]:
    """Return the ids of older receipts that share an identity with this one, the newest first."""
    older = (other for other in history(queue) if other.at_ms < receipt.at_ms)
    return [other.id for other in older if not set(other.hashes).isdisjoint(receipt.hashes)]


def _key(queue: Queue, receipt_id: str) -> str:
    return keys.RECEIPT.of(queue.name, receipt_id)
