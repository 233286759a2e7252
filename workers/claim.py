"""One claim to its outcomes: prepare, pack, send, settle, wave by wave.

Handed its `send`, so that it runs without a network. What it promises: an operation leaves only after the answers to
all that its event follows (or, where the destination trusts the order within a request, behind them in the same one); a
lease is checked before each send; an event that is put back takes along, unsent, whatever follows it in this claim.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, zip_longest
from typing import Any

import orjson

import lanes
import mapping
from dead_letters import record as letters
from dead_letters.record import Reason
from delivery import identity_memory, recent_attributes, retries
from delivery.admission import Send
from delivery.batching import Item, Request, pack
from delivery.outcomes import Delivered, Outcome, Paused, Rejected, Response, RetryLater, Split
from delivery.prepare import Prepared, prepare, translation_of
from mapping.envelope import unpack
from privacy import erasure, receipts
from privacy.purge import ErasureContext
from workers import heartbeat
from workers.lease import Lease

log = logging.getLogger(__name__)

# An event is buried unseen when this many workers died while they had it; the last two times it was claimed alone.
MOST_EXPIRED_CLAIMS = 5
# How long an answer may wait to be settled together with the next ones. Until then what stands behind it outside of its
# claim goes on waiting, and a worker that dies leaves it to be sent once more.
SETTLE_WITHIN_S = 0.1
_LATE = "it came after its person was deleted"
# Left over between the end of a send and the end of the lease.
_MARGIN_S = 1.0
# In-process tries of a send have come to an end by then: a worker that shall stop has not much longer.
_PATIENCE_S = 10.0
_STOPPING = Paused("the worker stops", Response(None, "not sent"))
_NOT_YET = (RetryLater, Paused)

Outcomes = dict[int, list[tuple[Item, Outcome]]]  # by the event's sequence, in the order of its items


@dataclass(frozen=True, slots=True)
class Terms:
    """How patient delivery is."""

    retry_base_s: float
    timeout_s: float  # of one send
    turn_s: float  # the longest wait for a turn to send
    lease_ms: int
    configuration: str = ""  # tells versions of it apart


@dataclass(slots=True)
class Verdicts:
    """What is to be settled."""

    delivered: list[int] = field(default_factory=list)
    buried: list[lanes.Burial] = field(default_factory=list)
    released: list[lanes.Release] = field(default_factory=list)

    @property
    def staying(self) -> set[int]:
        """The events that keep their place, so that what is behind them waits."""
        return {release.sequence for release in self.released} | {one.sequence for one in self.buried if one.blocks}


def work_off(
    claim: lanes.Claim,
    lease: Lease,
    destination: mapping.Destination,
    send: Send,
    terms: Terms,
    is_stopping: Callable[[], bool],
    before_settling: Callable[[], None] = lambda: None,
) -> None:
    """Bring every event of the claim to an end or back to its place; raise LeaseLost when the claim is lost.

    What was merely delivered is settled within SETTLE_WITHIN_S, everything else at once.
    """

    def settle() -> None:
        before_settling()
        _settle(lease, verdicts)

    def send_on(request: Request) -> list[Outcome]:
        return [_STOPPING] * len(request.items) if is_stopping() else send(request)

    verdicts, settled_at = _deadly(claim, destination, terms), time.monotonic()
    held: set[bytes] = set()
    for wave in _waves(claim, lease, destination, held):
        prepared = list(_sendable(wave, held, lease.queue, verdicts))
        if is_stopping():
            verdicts.released += [lanes.Release(one.event.sequence, 0) for one in prepared]
            break
        _deliver_wave(prepared, lease, destination, send_on, terms, verdicts)
        if staying := verdicts.staying:
            held.update(key for event in claim.events if event.sequence in staying for key in event.keys)
        if verdicts.buried or verdicts.released or time.monotonic() - settled_at > SETTLE_WITHIN_S:
            settle()
            verdicts, settled_at = Verdicts(), time.monotonic()
    settle()


def _deadly(claim: lanes.Claim, destination: mapping.Destination, terms: Terms) -> Verdicts:
    """Return that the events are buried unseen with which too many workers died."""
    verdicts = Verdicts()
    for event in claim.events:
        if len(event.expired_claims) >= MOST_EXPIRED_CLAIMS:
            text = f"{len(event.expired_claims)} workers died while they had this event"
            _bury(verdicts, event, Reason.POISON, time.time(), destination, terms, message=text)
    return verdicts


def _waves(
    claim: lanes.Claim, lease: Lease, destination: mapping.Destination, held: set[bytes]
) -> Iterator[Sequence[Prepared]]:
    """Yield what may be under way together: one depth, or everything where the order within a request is trusted.

    All are prepared at one go, unless one of them changes who is who: then each when it is due.
    """

    def ready(events: Sequence[lanes.ClaimedEvent]) -> list[Prepared]:
        return prepare(events, lease.queue, destination)

    prepared = ready([event for event in claim.events if len(event.expired_claims) < MOST_EXPIRED_CLAIMS])
    if destination.delivery.batch_order == "trust":
        yield prepared
        return
    changes = any(item.effect in mapping.CHANGES_IDENTITY for one in prepared for item in one.items)
    for depth, wave in groupby(prepared, key=lambda one: one.event.depth):
        if changes and depth > 0:
            yield ready(list(_not_behind((one.event for one in wave), held)))
        else:
            yield list(wave)


def _not_behind(events: Iterable[lanes.ClaimedEvent], held: set[bytes]) -> Iterator[lanes.ClaimedEvent]:
    """Yield what shares no key with an event that was put back; the others' keys are held as well."""
    for event in events:
        if held.isdisjoint(event.keys):
            yield event
        else:
            held.update(event.keys)


def _sendable(wave: Iterable[Prepared], held: set[bytes], queue: lanes.Queue, verdicts: Verdicts) -> Iterator[Prepared]:
    """Yield what shares no key with an event that was put back; the others' keys are held as well.

    What changes names is put back here, to come again by itself when its neighbours have been applied.
    """
    for one in wave:
        is_free = held.isdisjoint(one.event.keys)
        if is_free and not one.changes_names:
            yield one
            continue
        held.update(one.event.keys)
        if is_free:
            verdicts.released.append(lanes.Release(one.event.sequence, 0, cooldown_ms=queue.cooldown_ms))


def _deliver_wave(
    prepared: Sequence[Prepared],
    lease: Lease,
    destination: mapping.Destination,
    send: Send,
    terms: Terms,
    verdicts: Verdicts,
) -> None:
    """Send the wave and add what is to be settled of it."""
    now_s = time.time()
    if destination.delivery.after_deletion == "bury":
        for late in (one for one in prepared if one.late):
            _bury(verdicts, late.event, Reason.DELETED, now_s, destination, terms, message=_LATE)
        prepared = [one for one in prepared if not one.late]
    said_ms = _said_ms(destination, lease.queue)
    prepared = recent_attributes.said_again(lease.queue, prepared, said_ms)
    outcomes = _send_all(prepared, lease, destination, send, terms)
    recent_attributes.remember(lease.queue, _delivered_updates(prepared, outcomes), said_ms)
    _remember(prepared, outcomes, lease)
    _note_orders(prepared, outcomes, lease, destination)
    for one in prepared:
        _judge(one, outcomes[one.event.sequence], now_s, destination, terms, verdicts)


def _said_ms(destination: mapping.Destination, queue: lanes.Queue) -> int:
    """Return for how long updates say again what was said before; 0 where each waits for the one before, or may look
    older than it."""
    delivery = destination.delivery
    follow_at_once = delivery.order == "acknowledged" and delivery.identify_times == "rising"
    return queue.cooldown_ms if follow_at_once else 0


def _delivered_updates(prepared: Sequence[Prepared], outcomes: Outcomes) -> Iterator[Item]:
    """Yield the items that were delivered of events that update a person."""
    for one in prepared:
        if one.update:
            yield from (item for item, outcome in outcomes[one.event.sequence] if isinstance(outcome, Delivered))


def _send_all(
    prepared: Sequence[Prepared], lease: Lease, destination: mapping.Destination, send: Send, terms: Terms
) -> Outcomes:
    """Return what became of each event's items. What follows an item that must go again is not sent and has none.

    A request that was refused as a whole goes again in halves, the first before the second.
    """
    outcomes: Outcomes = defaultdict(list)
    lanes_of = {one.event.sequence: one.event.keys for one in prepared}
    held: set[bytes] = set()
    waiting: set[int] = set()
    for items in _rounds(prepared, destination):
        requests = deque(pack(items, destination.batch_items))
        while requests:
            request = requests.popleft()
            if waiting:
                sendable = (
                    item
                    for item in request.items
                    if item.sequence not in waiting and held.isdisjoint(lanes_of[item.sequence])
                )
                request = Request(request.path, tuple(sendable))
            if not request.items:
                continue
            answered = _send(request, lease, send, terms)
            if isinstance(answered[0], Split):
                requests.extendleft(reversed(request.halves()))
                continue
            for item, outcome in zip(request.items, answered, strict=True):
                outcomes[item.sequence].append((item, outcome))
                if isinstance(outcome, _NOT_YET):
                    waiting.add(item.sequence)
                    held.update(lanes_of[item.sequence])
    return outcomes


def _rounds(prepared: Sequence[Prepared], destination: mapping.Destination) -> Iterator[Iterable[Item]]:
    """Yield what may share requests: the first items of all events, then the second ones, and so on; everything in its
    order where the order within a request is trusted."""
    if destination.delivery.batch_order == "trust":
        yield [item for one in prepared for item in one.items]
    else:
        for items in zip_longest(*(one.items for one in prepared)):
            yield [item for item in items if item is not None]


def _remember(prepared: Sequence[Prepared], outcomes: Outcomes, lease: Lease) -> None:
    """Keep what was done to identities before anybody is told that it was."""
    done = [
        (item.effect, orjson.loads(item.data), one.happened_at_ms)
        for one in prepared
        for item, outcome in outcomes[one.event.sequence]
        if item.effect in mapping.CHANGES_IDENTITY and isinstance(outcome, Delivered)
    ]
    identity_memory.remember(lease.queue, done)


def _note_orders(
    prepared: Sequence[Prepared], outcomes: Outcomes, lease: Lease, destination: mapping.Destination
) -> None:
    """Have those forgotten here whom Customer.io was told to delete; the suppressed with all that came since."""
    for one in prepared:
        if one.order is None or one.order.action == "unsuppress":
            continue
        if _is_delivered(one, outcomes[one.event.sequence]):
            receipt_id = erasure.begin_receipt(ErasureContext(lease.queue, destination), one.order, one.message_id)
            before = one.event.sequence + 1 if one.order.action == "delete" else None
            receipts.note_sent(lease.queue, receipt_id, one.order.person, before)


def _is_delivered(prepared: Prepared, outcomes: list[tuple[Item, Outcome]]) -> bool:
    for _, outcome in outcomes:
        if not isinstance(outcome, Delivered):
            return False
    return len(outcomes) == len(prepared.items)


def _send(request: Request, lease: Lease, send: Send, terms: Terms) -> list[Outcome]:
    """Send under the lease, and again while nothing was accepted."""

    def attempt() -> list[Outcome]:
        lease.cover(terms.turn_s + terms.timeout_s + _MARGIN_S)
        return send(request)

    return retries.with_retries(attempt, terms.retry_base_s, within_s=min(terms.lease_ms / 2000, _PATIENCE_S))


def _judge(
    prepared: Prepared,
    outcomes: list[tuple[Item, Outcome]],
    now_s: float,
    destination: mapping.Destination,
    terms: Terms,
    verdicts: Verdicts,
) -> None:
    """Interpret the outcomes of one event: the one place that does."""
    event, failures = prepared.event, prepared.failures
    if not failures and _is_delivered(prepared, outcomes):
        verdicts.delivered.append(event.sequence)
        return
    refusals = tuple((item, outcome) for item, outcome in outcomes if isinstance(outcome, Rejected))
    for item, outcome in outcomes:
        if isinstance(outcome, Paused):
            verdicts.released.append(lanes.Release(event.sequence, int(outcome.after_s * 1000)))
            return
        if isinstance(outcome, RetryLater):
            if outcome.counts and _is_exhausted(event, now_s):
                _bury(
                    verdicts,
                    event,
                    Reason.EXHAUSTED,
                    now_s,
                    destination,
                    terms,
                    failures=failures,
                    refusals=(*refusals, (item, outcome)),
                    accepted=_accepted(outcomes),
                    unsent=prepared.items[len(outcomes) :],
                    message=outcome.reason,
                )
            else:
                delay_s = retries.release_delay_s(outcome, len(event.attempts), terms.retry_base_s)
                note = letters.attempt(now_s, outcome.reason, heartbeat.NAME) if outcome.counts else b""
                verdicts.released.append(lanes.Release(event.sequence, int(delay_s * 1000), note))
            return
    if len(outcomes) < len(prepared.items):
        # It stands behind an event that goes again, and has not been sent.
        verdicts.released.append(lanes.Release(event.sequence, 0))
        return
    reason = Reason.INVALID if failures else Reason.REJECTED
    told: dict[str, Any] = {"failures": failures, "refusals": refusals, "accepted": _accepted(outcomes)}
    _bury(verdicts, event, reason, now_s, destination, terms, **told)


def _bury(
    verdicts: Verdicts,
    event: lanes.ClaimedEvent,
    reason: Reason,
    now_s: float,
    destination: mapping.Destination,
    terms: Terms,
    **why: Any,
) -> None:
    """Add the event to those that are set aside; `why` is what its letter tells besides."""
    operations: tuple[mapping.Operation, ...] | None = None
    if {"refusals", "accepted", "unsent"} & why.keys():  # mapped again, as nobody keeps them until then
        _, content, again = unpack(event.body)
        accepted_at_ms = again.get("accepted_at_ms", event.accepted_at_ms)
        operations = translation_of(content, again, destination, accepted_at_ms).operations
    letter = letters.failure(
        event,
        destination,
        now_s,
        reason,
        worker=heartbeat.NAME,
        configuration=terms.configuration,
        operations=operations,
        **why,
    )
    blocks = destination.delivery.after_burial == "hold"
    verdicts.buried.append(lanes.Burial(event.sequence, letter, blocks))


def _accepted(outcomes: list[tuple[Item, Outcome]]) -> tuple[Item, ...]:
    return tuple(item for item, outcome in outcomes if isinstance(outcome, Delivered))


def _is_exhausted(event: lanes.ClaimedEvent, now_s: float) -> bool:
    attempts, age_s = len(event.attempts) + 1, now_s - event.accepted_at_ms / 1000
    is_old = age_s > retries.MAX_AGE_S and attempts >= retries.LEAST_ATTEMPTS
    return is_old or attempts >= retries.MAX_ATTEMPTS


def _settle(lease: Lease, verdicts: Verdicts) -> None:
    if not (verdicts.delivered or verdicts.buried or verdicts.released):
        return
    settled = lanes.settle(
        lease.queue,
        lease.claim_id,
        delivered=verdicts.delivered,
        buried=verdicts.buried,
        released=verdicts.released,
    )
    if settled.lost:
        log.warning("%s: the claim lost %d events before it could settle them", lease.queue.name, len(settled.lost))
