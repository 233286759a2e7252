"""Erase a person, from the privacy request to the receipt.

Operators (`segue forget`) and Segment (deletion requests) use the same functions, which end in `purge`.

When Customer.io has to delete or suppress the person, the privacy request is appended to the person's lanes first. So
it is durable and in order. The events before it are discarded unsent. The request is sent when no event of the person
is in progress. Then a worker removes the remaining data, including the traces of the request.
"""

from __future__ import annotations

import time
from typing import Literal
from uuid import uuid4

import redis
from redis.exceptions import RedisError, ResponseError

import lanes
import mapping
from dead_letters.spill_files import TornFile
from delivery.recording import ledger
from lanes import Queue, keys, suppression
from lanes.cluster import servers
from lanes.records import read_record
from logs import events as log
from logs.causes import cause
from mapping.envelope import message_key, unpack
from privacy import purge, receipts
from privacy.purge import ErasureContext, Removed
from privacy.receipts import PersonBefore, Receipt

# What became of a request to rewrite the append-only file.
Rewrite = Literal["requested", "refused", "no file"]

_SOURCE = "segue"
_POLL_S = 0.1
# Redis rewrites its append-only file at most once in this time.
_REWRITE_S = 600


def erase(context: ErasureContext, person: mapping.Person, requested_by: str) -> tuple[Receipt, set[str]]:
    """Remove the data of a person now, and wait until no event of the person is in progress.

    Return the receipt, and the ordering keys of other people that the removed events named.
    """
    queue, passes = context.queue, list[Removed]()
    while not passes or passes[-1].claimed:
        if passes:
            time.sleep(_POLL_S)
            lanes.reap(queue)
        passes += purge.purge(context, [(person, None)])
    receipt_id = uuid4().hex[:12]
    digests = purge.own_digests(context.destination, person)
    receipts.begin(queue, receipt_id, requested_by=requested_by, request="erase", digests=digests)
    for removed in passes:
        receipts.add(queue, receipt_id, removed.counts)
    _finish_one(context, receipt_id, passes[-1])
    return _receipt(queue, receipt_id), {other for removed in passes for other in removed.others}


def request(
    context: ErasureContext,
    person: mapping.Person,
    action: mapping.PrivacyAction,
    requested_by: str,
) -> tuple[Receipt, set[str]]:
    """Request that Customer.io deletes or suppresses a person. The person's waiting events are discarded at once;
    workers do the rest.

    Return the receipt, and the ordering keys of other people that the removed events named.
    """
    event, queue = mapping.PrivacyRequest(person, action).event(uuid4().hex), context.queue
    receipt_id = receipts.id_of(queue, message_key(_SOURCE, event))
    digests = purge.own_digests(context.destination, person)
    receipts.begin(queue, receipt_id, requested_by=requested_by, request=_request(action), digests=digests)
    if action == "suppress":
        suppression.suppress(queue, purge.all_digests(context, person).digests)
    discarded = discard(context, purge.append(context, _SOURCE, event))
    return _receipt(queue, receipt_id), discarded.others if discarded else set()


def unsuppress(context: ErasureContext, person: mapping.Person) -> int:
    """Accept events of a suppressed person again, here and at Customer.io. Return how many ordering keys of the person
    were suppressed."""
    count = suppression.unsuppress(context.queue, purge.all_digests(context, person).digests)
    purge.append(context, _SOURCE, mapping.PrivacyRequest(person, "unsuppress").event(uuid4().hex))
    return count


def discard(context: ErasureContext, sequence: int) -> Removed | None:
    """Discard the person's events before the privacy request with this sequence. None: the request was sent already."""
    queue = context.queue
    record = queue.client.hget(keys.EVENT.of(queue.name), str(sequence))
    body = read_record(record)[2] if isinstance(record, bytes) else b""
    source, event = unpack(body)[:2] if body else ("", {})
    privacy_request = mapping.privacy_request_of(event)
    if privacy_request is None:
        return None
    receipt_id = begin_receipt(context, privacy_request, message_key(source, event))
    tied = purge.all_digests(context, privacy_request.person)
    removed = Removed(privacy_request.person, tied.digests, sequence, tied.is_too_large)
    action = "suppressed" if privacy_request.action == "suppress" else "before a deletion"
    purge.erase_queued(context, removed, "dropped", action)
    purge.erase_message_ids(context, removed)
    receipts.add(queue, receipt_id, removed.counts)
    return removed


def begin_receipt(context: ErasureContext, privacy_request: mapping.PrivacyRequest, message_id: str) -> str:
    """Write the receipt of a privacy request, unless it exists, and return its id. `message_id` has its source in
    front."""
    queue = context.queue
    receipt_id = receipts.id_of(queue, message_id)
    requested_by = f"source {message_id.partition(':')[0]}"
    digests = purge.own_digests(context.destination, privacy_request.person)
    receipts.begin(
        queue, receipt_id, requested_by=requested_by, request=_request(privacy_request.action), digests=digests
    )
    return receipt_id


def finish(context: ErasureContext) -> None:
    """Remove the remaining data of the people whose privacy requests were sent."""
    queue = context.queue
    found = {receipt_id: _person_of(queue, receipt_id) for receipt_id in receipts.unfinished(queue)}
    people = {receipt_id: person for receipt_id, person in found.items() if person is not None}
    try:
        _finish(context, people)
    except (RedisError, OSError, TornFile):
        raise
    except Exception as error:  # then one by one
        log.unhandled("the end of erasures", error, destination=queue.name)
        for receipt_id, person in people.items():
            _finish_alone(context, receipt_id, person)


def _person_of(queue: Queue, receipt_id: str) -> PersonBefore | None:
    try:
        return receipts.person_of(queue, receipt_id)
    except (TypeError, ValueError) as error:
        log.unhandled("the person of a receipt", error, destination=queue.name, receipt=receipt_id)
        return None


def _finish_alone(context: ErasureContext, receipt_id: str, person: PersonBefore) -> None:
    """Finish one erasure. One that fails stays unfinished, and delays no other."""
    try:
        _finish(context, {receipt_id: person})
    except (RedisError, OSError, TornFile):
        raise
    except Exception as error:
        log.unhandled("the end of an erasure", error, destination=context.queue.name, receipt=receipt_id)


def _finish(context: ErasureContext, people: dict[str, PersonBefore]) -> None:
    """Remove the data of people; `people` by the ids of their receipts."""
    queue = context.queue
    for receipt_id, removed in zip(people, purge.purge(context, list(people.values())), strict=True):
        receipts.add(queue, receipt_id, removed.counts)
        if not removed.claimed:
            _finish_one(context, receipt_id, removed)
            queue.client.set(keys.AOF_REWRITE.name, "1")


def _finish_one(context: ErasureContext, receipt_id: str, removed: Removed) -> None:
    """Leave the rest to the ledger, and forget which identities were merged: after a crash before that, the erasure is
    repeated with the same identities."""
    ledger.request_erasure(context.queue, receipt_id, removed.digests, removed.before)
    receipts.add(context.queue, receipt_id, purge.erase_merges(context, removed))
    receipts.finish(context.queue, receipt_id)


def rewrite_history(client: redis.Redis) -> Rewrite:
    """Make Redis rewrite its append-only file, which contains removed data until then; in a cluster, each primary."""
    found = [_rewrite_history(server) for server in servers(client).values()]
    outcomes: tuple[Rewrite, ...] = ("refused", "requested", "no file")
    return next(outcome for outcome in outcomes if outcome in found)


def _rewrite_history(client: redis.Redis) -> Rewrite:
    try:
        if not _has_history(client):
            return "no file"
        client.bgrewriteaof()
        return "requested"
    except RedisError as error:  # of a rewrite that runs too: it may have read the data before
        client.set(keys.AOF_REWRITE.name, "1")
        if "in progress" in str(error):
            return "requested"
        log.HISTORY_NOT_REWRITTEN.write(error=cause(error))
        return "refused"


def _has_history(client: redis.Redis) -> bool:
    """Whether Redis has an append-only file, or does not say."""
    try:
        return bool(client.info("persistence").get("aof_enabled", 1))
    except ResponseError:
        return True


def rewrite_wanted_history(client: redis.Redis) -> None:
    """Make Redis rewrite its append-only file if an erasure wants it, at most once in ten minutes."""
    if client.exists(keys.AOF_REWRITE.name) and client.set(keys.AOF_REWRITE_DONE.name, "1", nx=True, ex=_REWRITE_S):
        client.delete(keys.AOF_REWRITE.name)
        rewrite_history(client)


def _request(action: mapping.PrivacyAction) -> receipts.Request:
    return "suppress" if action == "suppress" else "delete"


def _receipt(queue: Queue, receipt_id: str) -> Receipt:
    receipt = receipts.read(queue, receipt_id)
    assert receipt is not None
    return receipt
