"""Forgetting a person: every place in Segue where an event or an identity of theirs can rest, and how it is emptied.

Whoever asks (`segue forget`, Segment's deletion request) ends in `purge`. Where Customer.io is to delete or suppress
the person as well, the order is appended to their lanes first, so that it is durable and has its place; what stands
before it is dropped unsent; it is sent when nothing of the person is under way any more; and then a worker purges once
more, which takes away the traces of the sending itself. docs/privacy.md tells what is kept where.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import orjson
import redis
from redis.exceptions import ResponseError

import lanes
import mapping
from lanes import barred, forgetting
from lanes.keys import base, read_record
from mapping.event import JsonObject, message_key, pack, unpack
from settings import Settings
from workers import delivery_log, receipts, replays
from workers.graveyard import Filter
from workers.receipts import Receipt, What

_SOURCE = "segue"
_DAY_S = 86_400
_NO_LIMIT = 2**53  # an order is taken when the queue is full too
_PEOPLE = ("id:", "email:", "cio_id:", "anonymous_id:")
_LOOK_S = 0.1
# What a replay's filter says when the one it had named somebody who is forgotten: it wants no letter.
_NOBODY = Filter(person="forgotten")
# A rewrite of the append-only file was asked for; set while one is wanted.
_HISTORY = "segue:history"
_REWRITE_EVERY_S = 600


@dataclass(frozen=True, slots=True)
class Means:
    """What forgetting has to know of how a queue is run."""

    dedupe_s: int
    longest_hold_ms: int
    # Removes from the spill files the letters of which this is true, and returns how many.
    spilled: Callable[[str, Callable[[JsonObject], bool]], int]


def means(settings: Settings) -> Means:
    """Return the means of the settings."""
    # The seam for spill files: `spills.remove` of the directory that the settings name.
    return Means(settings.dedupe_s, int(settings.settle_s * 1000), lambda _queue, _is_theirs: 0)


@dataclass(slots=True)
class Removed:
    """What was removed, how many of each kind."""

    counts: Counter[str] = field(default_factory=Counter)
    others: set[str] = field(default_factory=set)  # ordering keys of people that the removed events named besides
    claimed: int = 0  # events that are being worked on: traces of them may come yet
    orders: list[tuple[str, JsonObject]] = field(default_factory=list)  # earlier ones, not sent yet, by their sources

    def add(self, other: Removed) -> None:
        self.counts += other.counts
        self.others |= other.others


def forget(
    client: redis.Redis, destination: mapping.Destination, person: mapping.Person, means: Means, who: str
) -> tuple[Receipt, Removed]:
    """Forget the person here and now; waits for what is being sent at this moment."""
    queue, total = destination.name, Removed()
    while True:
        removed = purge(client, destination, person, means)
        total.add(removed)
        if not removed.claimed:
            break
        time.sleep(_LOOK_S)
        lanes.reap(client, queue)
    receipt_id = uuid4().hex[:12]
    receipts.begin(client, queue, receipt_id, who=who, what="forget", digests=_digests(destination, person))
    receipts.add(client, queue, receipt_id, total.counts)
    receipts.finish(client, queue, receipt_id)
    return _receipt(client, queue, receipt_id), total


def give(
    client: redis.Redis,
    destination: mapping.Destination,
    person: mapping.Person,
    action: mapping.OrderedAction,
    means: Means,
    who: str,
) -> tuple[Receipt, Removed]:
    """Order a deletion or suppression: what waits of the person is dropped at once, the rest is the workers'."""
    queue, message_id = destination.name, uuid4().hex
    what: What = "suppress" if action == "suppress" else "delete"
    receipt_id = receipts.identity(client, queue, f"{_SOURCE}:{message_id}")
    receipts.begin(client, queue, receipt_id, who=who, what=what, digests=_digests(destination, person))
    if action == "suppress":
        barred.bar(client, queue, _wanted(client, destination, person))
    sequence = _append(client, destination, _SOURCE, mapping.Order(person, action).event(message_id), means)
    dropped = drop(client, destination, sequence, means)
    return _receipt(client, queue, receipt_id), dropped


def readmit(client: redis.Redis, destination: mapping.Destination, person: mapping.Person, means: Means) -> int:
    """Take events of the person again, and let Customer.io do so; return how many of their keys were barred."""
    count = barred.admit(client, destination.name, _wanted(client, destination, person))
    _append(client, destination, _SOURCE, mapping.Order(person, "unsuppress").event(uuid4().hex), means)
    return count


def drop(client: redis.Redis, destination: mapping.Destination, sequence: int, means: Means) -> Removed:
    """Drop what stands before the order of this sequence; nothing when it has been sent already."""
    queue = destination.name
    record = client.hget(f"{base(queue)}:event", str(sequence))
    body = read_record(record)[2] if isinstance(record, bytes) else b""
    source, event = unpack(body) if body else ("", {})
    order = mapping.order_of(event)
    if order is None:
        return Removed()
    receipt_id = begin_receipt(client, destination, order, message_key(source, event))
    removed = purge(client, destination, order.person, means, before=sequence)
    receipts.add(client, queue, receipt_id, removed.counts)
    return removed


def begin_receipt(client: redis.Redis, destination: mapping.Destination, order: mapping.Order, message_id: str) -> str:
    """Write the receipt of an order unless it is there, and return its id."""
    receipt_id = receipts.identity(client, destination.name, message_id)
    what: What = "suppress" if order.action == "suppress" else "delete"
    who = f"source {message_id.partition(':')[0]}"
    digests = _digests(destination, order.person)
    receipts.begin(client, destination.name, receipt_id, who=who, what=what, digests=digests)
    return receipt_id


def finish(client: redis.Redis, destination: mapping.Destination, receipt_id: str, means: Means) -> None:
    """Remove what is left of the person whom a receipt that is sent is about."""
    ordered = receipts.order(client, destination.name, receipt_id)
    if ordered is None:
        return
    person, before = ordered
    removed = purge(client, destination, person, means, before=before)
    receipts.add(client, destination.name, receipt_id, removed.counts)
    if not removed.claimed:
        receipts.finish(client, destination.name, receipt_id)
        client.set(_HISTORY, "1")


def purge(
    client: redis.Redis,
    destination: mapping.Destination,
    person: mapping.Person,
    means: Means,
    before: int | None = None,
) -> Removed:
    """Remove what rests of the person; of events those accepted before the sequence `before` if one is given.

    Idempotent. Everything with one of their ordering keys goes, and everybody who was merged into them or they into. An
    order that has not been sent yet stands behind everything else then.
    """
    queue, removed, message_ids = destination.name, Removed(), set[str]()
    wanted = _wanted(client, destination, person)
    gone = lanes.forget(client, queue, wanted, before=before, longest_hold_ms=means.longest_hold_ms)
    removed.claimed = gone.claimed
    for event in gone.events:
        if event.body:
            removed.counts["letters" if event.how == "letter" else "events"] += 1
            _meet(event.body, destination, wanted, removed, message_ids)
    for page in _letters(client, queue, wanted, person, before):
        lanes.discard(client, queue, [letter.sequence for letter in page], longest_hold_ms=means.longest_hold_ms)
        removed.counts["letters"] += len(page)
        for letter in page:
            _meet(letter.body, destination, wanted, removed, message_ids)
    removed.counts["spilled"] += means.spilled(queue, _spilled(destination, wanted, before))
    removed.counts["log"] += delivery_log.remove(client, queue, wanted, message_ids.add, before)
    removed.counts["message_ids"] += forgetting.forget_message_ids(client, queue, message_ids, means.dedupe_s)
    for what, hashes in forgetting.generations(client, queue).items():
        if what in ("join", "merged", "deleted", "identified"):
            removed.counts[what] += forgetting.forget_keys(client, hashes, wanted)
    removed.counts["replays"] += _redact_replays(client, queue, wanted, person)
    removed.counts = +removed.counts
    for source, order in removed.orders:
        _append(client, destination, source, order, means)
    return removed


def rewrite_history(client: redis.Redis) -> bool:
    """Have Redis write its append-only file anew, which holds what was removed until then; False when it keeps none."""
    if not client.info("persistence").get("aof_enabled"):
        return False
    try:
        client.bgrewriteaof()
    except ResponseError:  # one is under way: the next one is asked for when that has ended
        client.set(_HISTORY, "1")
    return True


def rewrite_wanted_history(client: redis.Redis) -> None:
    """Do so for workers, when it is wanted, once in ten minutes."""
    if client.exists(_HISTORY) and client.set(f"{_HISTORY}:asked", "1", nx=True, ex=_REWRITE_EVERY_S):
        client.delete(_HISTORY)
        rewrite_history(client)


def _append(client: redis.Redis, destination: mapping.Destination, source: str, order: JsonObject, means: Means) -> int:
    """Put an order on the queue; return its sequence."""
    place = mapping.placement(order, destination)
    entry = lanes.NewEvent(pack(source, order), place.keys, message_key(source, order), means.longest_hold_ms)
    return lanes.append(
        client,
        destination.name,
        [entry],
        limit=_NO_LIMIT,
        dedupe_s=means.dedupe_s,
        longest_hold_ms=means.longest_hold_ms,
        join_s=destination.delivery.remember_days * _DAY_S,
    ).last


def _digests(destination: mapping.Destination, person: mapping.Person) -> set[bytes]:
    return {lanes.digest(key) for key in person.keys(destination.identifiers)}


def _wanted(client: redis.Redis, destination: mapping.Destination, person: mapping.Person) -> frozenset[bytes]:
    """Return the digests of the person's keys, and of all that were merged with them."""
    remembered = forgetting.generations(client, destination.name)
    ties = [*remembered.get("join", ()), *remembered.get("merged", ())]
    return forgetting.joined(client, ties, _digests(destination, person))


def _meet(
    body: bytes,
    destination: mapping.Destination,
    wanted: frozenset[bytes],
    removed: Removed,
    message_ids: set[str],
) -> None:
    """Note what a removed event says: who else is named in it, how it is known, and whether it was an order."""
    source, event = unpack(body)
    message_ids.add(message_key(source, event))
    keys = mapping.ordering_keys(event, destination)
    removed.others.update(key for key in keys if key.startswith(_PEOPLE) and lanes.digest(key) not in wanted)
    if mapping.order_of(event) is not None:
        removed.orders.append((source, event))


def _letters(
    client: redis.Redis, queue: str, wanted: frozenset[bytes], person: mapping.Person, before: int | None
) -> Iterator[list[lanes.DeadLetter]]:
    """Yield the person's dead letters page by page: by their keys, and those that were edited by what they say too."""
    texts = [orjson.dumps(text) for text in person.texts()]

    def is_theirs(letter: lanes.DeadLetter) -> bool:
        if not wanted.isdisjoint(letter.keys):
            return True
        written = letter.body + letter.letter
        return b'"original":' in letter.letter and any(text in written for text in texts)

    after = 0
    while page := lanes.letters(client, queue, after=after):
        after = page[-1].sequence
        yield [letter for letter in page if is_theirs(letter) and (before is None or letter.sequence < before)]


def _spilled(
    destination: mapping.Destination, wanted: frozenset[bytes], before: int | None
) -> Callable[[JsonObject], bool]:
    """Return whether a line of a spill file is the person's."""

    def is_theirs(line: JsonObject) -> bool:
        if before is not None and line["sequence"] >= before:
            return False
        events = [line["event"], line.get("again"), line.get("why", {}).get("original")]
        keys = {key for event in events if event for key in mapping.ordering_keys(event, destination)}
        return not wanted.isdisjoint(map(lanes.digest, keys))

    return is_theirs


def _redact_replays(client: redis.Redis, queue: str, wanted: frozenset[bytes], person: mapping.Person) -> int:
    """Take the person out of the filters of replays; that there was one is kept."""
    texts, count = [text.casefold() for text in person.texts()], 0
    for replay in replays.history(client, queue):
        named, said = replay.wanted.person, (replay.wanted.text or "").casefold()
        if (named and lanes.digest(named) in wanted) or (said and any(said in text or text in said for text in texts)):
            client.hset(f"{base(queue)}:replay:{replay.id}", "wanted", _NOBODY.model_dump_json(exclude_defaults=True))
            count += 1
    return count


def _receipt(client: redis.Redis, queue: str, receipt_id: str) -> Receipt:
    receipt = receipts.read(client, queue, receipt_id)
    assert receipt is not None
    return receipt
