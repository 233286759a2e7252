"""Forgetting a person, from the order to the receipt.

Whoever asks (`segue forget`, Segment's deletion request) ends in `purge`. Where Customer.io is to delete or suppress
the person as well, the order is appended to their lanes first, so that it is durable and has its place; what stands
before it is dropped unsent; it is sent when nothing of the person is under way any more; and then a worker removes what
is left, the traces of the sending included.
"""

from __future__ import annotations

import time
from uuid import uuid4

import redis
from redis.exceptions import ResponseError

import lanes
import mapping
from lanes import Queue, keys, suppression
from lanes.records import read_record
from mapping.envelope import message_key, unpack
from privacy import purge, receipts
from privacy.purge import ErasureContext, Removed
from privacy.receipts import Receipt, What

_SOURCE = "segue"
_LOOK_S = 0.1
# Set while a rewrite of the append-only file is wanted, and for a while after one was asked for.
_REWRITE_S = 600


def forget(context: ErasureContext, person: mapping.Person, who: str) -> tuple[Receipt, set[str]]:
    """Forget the person here and now; waits for what is being sent at this moment. Return the receipt, and the ordering
    keys of other people whom the removed events named."""
    queue, passes = context.queue, list[Removed]()
    while not passes or passes[-1].claimed:
        if passes:
            time.sleep(_LOOK_S)
            lanes.reap(queue)
        passes += purge.purge(context, [(person, None)])
    receipt_id = uuid4().hex[:12]
    digests = purge.own_digests(context.destination, person)
    receipts.begin(queue, receipt_id, who=who, what="forget", digests=digests)
    for removed in passes:
        receipts.add(queue, receipt_id, removed.counts)
    receipts.finish(queue, receipt_id)
    return _receipt(queue, receipt_id), {other for removed in passes for other in removed.others}


def give(
    context: ErasureContext,
    person: mapping.Person,
    action: mapping.PrivacyAction,
    who: str,
) -> tuple[Receipt, set[str]]:
    """Order a deletion or suppression: what waits of the person is dropped at once, the rest is the workers'. Return
    what `forget` does."""
    order, queue = mapping.PrivacyRequest(person, action).event(uuid4().hex), context.queue
    receipt_id = receipts.identity(queue, message_key(_SOURCE, order))
    digests = purge.own_digests(context.destination, person)
    receipts.begin(queue, receipt_id, who=who, what=_what(action), digests=digests)
    if action == "suppress":
        suppression.suppress(queue, purge.all_digests(context, person))
    dropped = drop(context, purge.append(context, _SOURCE, order))
    return _receipt(queue, receipt_id), dropped.others if dropped else set()


def readmit(context: ErasureContext, person: mapping.Person) -> int:
    """Take events of the person again, and let Customer.io do so; return how many of their keys were barred."""
    count = suppression.unsuppress(context.queue, purge.all_digests(context, person))
    purge.append(context, _SOURCE, mapping.PrivacyRequest(person, "unsuppress").event(uuid4().hex))
    return count


def drop(context: ErasureContext, sequence: int) -> Removed | None:
    """Drop what stands on the queue before the order of this sequence; None when it has been sent already."""
    queue = context.queue
    record = queue.client.hget(keys.EVENT.of(queue.name), str(sequence))
    _, digests, body = read_record(record) if isinstance(record, bytes) else (0, (), b"")
    source, event = unpack(body)[:2] if body else ("", {})
    order = mapping.privacy_request_of(event)
    if order is None:
        return None
    receipt_id = begin_receipt(context, order, message_key(source, event))
    removed = Removed(order.person, frozenset(digests), sequence)
    purge.take_out(context, removed)
    purge.forget_message_ids(context, removed)
    receipts.add(queue, receipt_id, removed.counts)
    return removed


def begin_receipt(context: ErasureContext, order: mapping.PrivacyRequest, message_id: str) -> str:
    """Write the receipt of an order unless it is there, and return its id."""
    queue = context.queue
    receipt_id = receipts.identity(queue, message_id)
    who = f"source {message_id.partition(':')[0]}"
    digests = purge.own_digests(context.destination, order.person)
    receipts.begin(queue, receipt_id, who=who, what=_what(order.action), digests=digests)
    return receipt_id


def finish(context: ErasureContext) -> None:
    """Remove what is left of the people about whom receipts are that are sent."""
    queue = context.queue
    sent = {receipt_id: receipts.order(queue, receipt_id) for receipt_id in receipts.unfinished(queue)}
    ordered = [(receipt_id, order) for receipt_id, order in sent.items() if order is not None]
    removed = purge.purge(context, [order for _, order in ordered])
    for (receipt_id, _), one in zip(ordered, removed, strict=True):
        receipts.add(queue, receipt_id, one.counts)
        if not one.claimed:
            receipts.finish(queue, receipt_id)
            queue.client.set(keys.AOF_REWRITE.name, "1")


def rewrite_history(client: redis.Redis) -> bool:
    """Have Redis write its append-only file anew, which holds what was removed until then; False when it keeps none."""
    if not client.info("persistence").get("aof_enabled"):
        return False
    try:
        client.bgrewriteaof()
    except ResponseError:  # one is under way: the next one is asked for by a worker
        client.set(keys.AOF_REWRITE.name, "1")
    return True


def rewrite_wanted_history(client: redis.Redis) -> None:
    """Do so for workers, when it is wanted, once in ten minutes."""
    if client.exists(keys.AOF_REWRITE.name) and client.set(keys.AOF_REWRITE_DONE.name, "1", nx=True, ex=_REWRITE_S):
        client.delete(keys.AOF_REWRITE.name)
        rewrite_history(client)


def _what(action: mapping.PrivacyAction) -> What:
    return "suppress" if action == "suppress" else "delete"


def _receipt(queue: Queue, receipt_id: str) -> Receipt:
    receipt = receipts.read(queue, receipt_id)
    assert receipt is not None
    return receipt
