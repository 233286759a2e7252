"""Receipts: that somebody was forgotten, when, by whom, and how much was removed. No personal data: identities stand in
a receipt as keyed hashes, by which a second run is recognised.

A receipt is also the record by which workers bring to its end what has to wait for an answer of Customer.io, whatever
dies meanwhile: `waiting` for its turn in the person's lanes, `sent`, `done`. Only a receipt that is `sent` names the
person, for the moment until the last traces are gone.

    :receipt:ID      hash    at_ms, who, what, state, marks, removed:KIND → how many, while sent person and before
    :receipts        zset    their ids by at_ms; both for ever
    :forgetting      set     ids of receipts that are sent
    :forgetting:lock string  a worker is about to finish them; a minute at most
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import orjson

import mapping
from lanes import Queue, keys, suppression

What = Literal["forget", "delete", "suppress"]
State = Literal["waiting", "sent", "done"]

_REMOVED = "removed:"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt as it stands."""

    id: str
    at_ms: int
    who: str
    what: What
    state: State
    marks: tuple[str, ...]  # keyed hashes of the person's ordering keys
    removed: dict[str, int]

    def json(self) -> dict[str, Any]:
        return asdict(self)


def identity(queue: Queue, message_key: str) -> str:
    """Return the id of the receipt for the order with this message id."""
    return suppression.keyed_hash(suppression.secret(queue), message_key.encode("utf-8", "surrogatepass"))[:6].hex()


def begin(queue: Queue, receipt_id: str, *, who: str, what: What, digests: Iterable[bytes]) -> None:
    """Write the receipt, unless it is there."""
    secret, now_ms = suppression.secret(queue), time.time_ns() // 1_000_000
    marks = " ".join(sorted(suppression.keyed_hash(secret, digest).hex() for digest in digests))
    fields = {"at_ms": now_ms, "who": who, "what": what, "state": "waiting", "marks": marks}
    if queue.client.hsetnx(_key(queue, receipt_id), "at_ms", str(now_ms)):
        with queue.client.pipeline(transaction=True) as pipeline:
            pipeline.hset(_key(queue, receipt_id), mapping=cast(dict[Any, Any], fields))
            pipeline.zadd(keys.RECEIPTS.of(queue.name), {receipt_id: now_ms})
            pipeline.execute()


def add(queue: Queue, receipt_id: str, removed: Counter[str]) -> None:
    """Count what was removed."""
    with queue.client.pipeline(transaction=True) as pipeline:
        for kind, count in removed.items():
            pipeline.hincrby(_key(queue, receipt_id), f"{_REMOVED}{kind}", count)
        pipeline.execute()


def note_sent(queue: Queue, receipt_id: str, person: mapping.Person, before: int | None) -> None:
    """Say that Customer.io has taken the order: what is left of the person, accepted before the sequence `before` if
    one is given, is to go now."""
    fields = {"state": "sent", "person": orjson.dumps(asdict(person)), "before": "" if before is None else before}
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.hset(_key(queue, receipt_id), mapping=cast(dict[Any, Any], fields))
        pipeline.sadd(keys.ERASING.of(queue.name), receipt_id)
        pipeline.execute()


def unfinished(queue: Queue) -> list[str]:
    """Return the ids of the receipts that are sent."""
    return sorted(name.decode() for name in cast(set[bytes], queue.client.smembers(keys.ERASING.of(queue.name))))


def order(queue: Queue, receipt_id: str) -> tuple[mapping.Person, int | None] | None:
    """Return whom a receipt that is sent is about, and before which sequence; None when it is not sent."""
    person, before = cast(list[bytes | None], queue.client.hmget(_key(queue, receipt_id), ["person", "before"]))
    if person is None:
        return None
    identities = {kind: tuple(texts) for kind, texts in orjson.loads(person).items()}
    return mapping.Person(**identities), int(before) if before else None


def finish(queue: Queue, receipt_id: str) -> None:
    """Say that nothing is left, and forget whom it was about."""
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.hset(_key(queue, receipt_id), "state", "done")
        pipeline.hdel(_key(queue, receipt_id), "person", "before")
        pipeline.srem(keys.ERASING.of(queue.name), receipt_id)
        pipeline.execute()


def read(queue: Queue, receipt_id: str) -> Receipt | None:
    """Return the receipt, None when there is none of this id."""
    stored = cast(dict[bytes, bytes], queue.client.hgetall(_key(queue, receipt_id)))
    fields = {name.decode(): value.decode() for name, value in stored.items()}
    if "state" not in fields:
        return None
    removed = {name.removeprefix(_REMOVED): int(count) for name, count in fields.items() if name.startswith(_REMOVED)}
    return Receipt(
        receipt_id,
        int(fields["at_ms"]),
        fields["who"],
        cast(What, fields["what"]),
        cast(State, fields["state"]),
        tuple(fields["marks"].split()),
        dict(sorted(removed.items())),
    )


def history(queue: Queue) -> list[Receipt]:
    """Return all receipts, the newest first."""
    ids = cast(list[bytes], queue.client.zrevrange(keys.RECEIPTS.of(queue.name), 0, -1))
    return [found for name in ids if (found := read(queue, name.decode())) is not None]


def earlier(queue: Queue, receipt: Receipt) -> list[str]:
    """Return the ids of older receipts for one of the same identities."""
    older = (one for one in history(queue) if one.at_ms < receipt.at_ms)
    return [one.id for one in older if not set(one.marks).isdisjoint(receipt.marks)]


def _key(queue: Queue, receipt_id: str) -> str:
    return keys.RECEIPT.of(queue.name, receipt_id)
