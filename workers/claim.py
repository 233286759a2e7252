"""One claim to its outcomes: prepare, pack, send, settle, depth by depth.

It is handed its `send`, so it runs without a network. What it guarantees:

- An operation is sent only after the responses to all operations that its event follows. Where the destination trusts
  the order within a request, it may stand behind them in the same request.
- No event of the claim is sent after an event with a common key that was not delivered and keeps its position. The same
  holds after an event that was not sent for that reason.
- No event is lost. Each is delivered, released or buried; an event that is none of them follows a released one, and is
  released with it.
- An exception that one event causes buries that event, with the exception, and affects no other event.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Any, Final

import orjson

import lanes
import mapping
from dead_letters import record
from dead_letters.burial import FailedEvent, Results
from dead_letters.record import Reason
from delivery import fates, identity_memory, recent_attributes, retries, unapplied, unsent
from delivery.batching import Item, Request, TooLarge, pack
from delivery.identity_memory import Change
from delivery.log import Recorder
from delivery.outcomes import Delivered, Outcome, Paused, Rejected, RetryLater, Send, Split
from delivery.prepare import NO_TRUST, Prepared, Trust, address, isolated, prepare
from delivery.recording.tap import ClaimTap
from logs import events as log
from mapping.envelope import TooDeep, readable_message_key, unpack
from privacy import erasure, receipts
from privacy.purge import ErasureContext

# An event is buried unsent when so many of its claims expired. The last two of them had no other event.
MOST_EXPIRED_CLAIMS = 5
# How long a delivered event may wait to be settled together with later ones. Until then events of other claims that
# follow it wait, and a worker that crashes leaves it to be sent again.
SETTLE_WITHIN_S = 0.1
# A UUID or an MD5 digest, with a prefix and a time in ms where Segment's libraries put them.
_MADE_BY_LIBRARY = re.compile(
    r"(?:(?:ajs|ajs-next|node|node-next)-)?(?:[0-9]{13}-)?[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}"
)
_LATE = "it is older than the deletion of its person"
_NOT_YET: Final = frozenset({RetryLater, Paused})

# By the event's sequence: the items that were sent, in their order.
Outcomes = dict[int, list[tuple[Item, Outcome]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimContext:
    """What the events of a claim are delivered with."""

    queue: lanes.Queue
    destination: mapping.Destination
    send: Send  # tries again, checks the lease, waits for a turn: see `delivery.sender`
    send_shadow: Send | None = None  # in its place for shadow events; None: the destination has none
    retry_base_s: float
    worker: str
    configuration: str  # a hash of the configuration, for dead letters
    trust: Trust = NO_TRUST
    is_stopping: Callable[[], bool]
    before_settling: Callable[[], None] | None = None
    decisions: Recorder | None = None  # keeps the decisions by which nothing is sent; None: there is no ledger
    tap: ClaimTap | None = None  # copies what becomes of some events; None: no live tail is watched


class BlockedKeys:
    """The keys of events that keep their position, and of the events that follow one of these.

    An event with such a key must not be sent in this claim: it would overtake.
    """

    def __init__(self) -> None:
        self._keys: set[bytes] = set()
        self._events: set[int] = set()  # an event may have no key, and several operations

    def __bool__(self) -> bool:
        return bool(self._events)

    def block(self, event: lanes.ClaimedEvent) -> None:
        """Block the keys of the event, and the event itself."""
        self._events.add(event.sequence)
        self._keys.update(event.keys)

    def passes(self, event: lanes.ClaimedEvent) -> bool:
        """Whether the event may be sent. If it may not, its keys are blocked as well."""
        if not self._events or (event.sequence not in self._events and self._keys.isdisjoint(event.keys)):
            return True
        self.block(event)
        return False


class Settlement:
    """The results of a claim's events, until they are settled."""

    def __init__(self, claim_id: str, context: ClaimContext) -> None:
        self.context = context
        self.blocked = BlockedKeys()
        self._claim_id = claim_id
        self._delivered: dict[int, str] = {}  # by sequence, the name of the fate
        self._buried: list[lanes.Burial] = []
        self._released: list[lanes.Release] = []
        self._unsent: list[tuple[int, tuple[str, ...]]] = []
        self._unapplied: list[tuple[lanes.ClaimedEvent, str]] = []
        self._lines: list[dict[str, Any]] = []  # of the log, for what is buried
        self._settled_at = time.monotonic()

    def deliver(self, prepared: Prepared) -> None:
        """Add an event of which nothing is left to be sent."""
        event, counted_as = prepared.event, prepared.counted_as
        self._delivered[event.sequence] = counted_as
        if prepared.unsent:
            self._unsent.append((event.sequence, prepared.unsent))
        decisions = self.context.decisions
        if decisions and event.body and not fates.has_items(counted_as):
            decisions.decide(event.sequence, prepared.message_id, counted_as)

    def refuse_shadow(self, prepared: Prepared) -> None:
        """Add a shadow event that would have become a dead letter, as a subscription refused it. Nothing is kept of it
        but the decision."""
        sequence, failure, decisions = prepared.event.sequence, prepared.failures[0], self.context.decisions
        counted_as = fates.shadowed(prepared.source, Reason.INVALID.value)
        self._delivered[sequence] = counted_as
        if decisions:
            decisions.decide(sequence, prepared.message_id, counted_as, f"{failure.name}: {failure.message}")

    def add_unapplied(self, event: lanes.ClaimedEvent, reason: str) -> None:
        """Add an operation of a delivered event that will not be applied. `reason`: of `delivery.unapplied`."""
        self._unapplied.append((event, reason))

    def release(
        self, event: lanes.ClaimedEvent, *, delay_s: float = 0, attempt: bytes = b"", cooldown_ms: int = 0
    ) -> None:
        """Add an event that returns to its lanes, due after the delay. `attempt`: a line of `record.attempt`."""
        self._released.append(lanes.Release(event.sequence, int(delay_s * 1000), attempt, cooldown_ms))
        self.blocked.block(event)

    def bury(self, event: lanes.ClaimedEvent, failure: bytes, reason: Reason, text: str | None, **line: Any) -> None:
        """Add an event that becomes a dead letter. `failure`: of `FailedEvent`; `text`: its message; `line`: fields
        for the log."""
        blocks = self.context.destination.delivery.after_burial == "hold"
        counted_as = fates.buried(event.body, reason.value)
        self._buried.append(lanes.Burial(event.sequence, failure, blocks, counted_as))
        if self.context.decisions:
            self.context.decisions.decide(event.sequence, readable_message_key(event.body), counted_as, text)
        self._lines.append({"sequence": event.sequence, "reason": reason.value, **line})
        if blocks:
            self.blocked.block(event)

    def settle_if_due(self) -> None:
        """Settle at once what was not merely delivered, the rest within SETTLE_WITHIN_S."""
        if self._buried or self._released or time.monotonic() - self._settled_at > SETTLE_WITHIN_S:
            self.settle()

    def settle(self) -> None:
        """Settle all results, after `before_settling`."""
        if self.context.before_settling is not None:
            self.context.before_settling()
        if self._delivered or self._buried or self._released:
            settled = lanes.settle(
                self.context.queue,
                self._claim_id,
                delivered=self._delivered,
                buried=self._buried,
                released=self._released,
                counted_as=self._delivered,
            )
            lost = self._lost(settled.lost)
            if lost:
                log.CLAIM_LOST.write(destination=self.context.queue.name, count=len(lost))
            if self.context.tap is not None:
                self.context.tap.settled(self._delivered, self._buried, self._released, lost)
            self._count_unsent(lost)
            self._count_unapplied(lost)
            for line in self._lines:
                if line["sequence"] not in lost:
                    log.EVENT_BURIED.write(destination=self.context.queue.name, **line)
        self._delivered, self._buried, self._released, self._unsent, self._lines = {}, [], [], [], []
        self._settled_at = time.monotonic()

    def _lost(self, sequences: Sequence[int]) -> Sequence[int]:
        """Return the events that the claim had lost. One with our failure is not: the reply of the call that buried it
        was lost, and the client repeated the call."""
        failure_of = {burial.sequence: burial.failure for burial in self._buried if burial.sequence in sequences}
        dead_letters = lanes.get_dead_letters(self.context.queue, sorted(failure_of))
        ours = {dead.sequence for dead in dead_letters if dead.failure == failure_of[dead.sequence]}
        return [sequence for sequence in sequences if sequence not in ours]

    def _count_unapplied(self, lost: Sequence[int]) -> None:
        """Count the operations of settled events that will not be applied, and write them to the log."""
        found = [(event, reason) for event, reason in self._unapplied if event.sequence not in lost]
        if found:
            queue = self.context.queue
            unapplied.add(queue, [reason for _, reason in found])
            for event, reason in found:
                message_id = _message_id(event)
                log.OPERATION_UNAPPLIED.write(
                    destination=queue.name, reason=reason, sequence=event.sequence, message_id=message_id
                )
        self._unapplied = []

    def _count_unsent(self, lost: Sequence[int]) -> None:
        """Count the settled events for which nothing was sent, by reason."""
        counts = Counter(reason for sequence, reasons in self._unsent if sequence not in lost for reason in reasons)
        if counts:
            unsent.add(self.context.queue, counts)


def deliver_claim(claim: lanes.Claim, context: ClaimContext) -> None:
    """Deliver, release or bury every event of the claim. Raises what `context.send` raises, such as LeaseLost."""
    settlement = Settlement(claim.id, context)
    for wave in _waves(_without_poison(claim.events, settlement), context, settlement.blocked):
        prepared = list(_sendable(wave, settlement))
        if context.is_stopping():
            for stopped in prepared:
                settlement.release(stopped.event)
            break
        _deliver_wave(prepared, settlement)
        settlement.settle_if_due()
    settlement.settle()


def _without_poison(events: Sequence[lanes.ClaimedEvent], settlement: Settlement) -> Sequence[lanes.ClaimedEvent]:
    """Bury the events of which too many claims expired, and return the others. An erased event has nothing to bury."""
    others = []
    for event in events:
        expired = len(event.expired_claims)
        if expired < MOST_EXPIRED_CLAIMS or not event.body:
            others.append(event)
        else:
            results = Results(message=f"{expired} claims of this event expired")
            _bury(event, Reason.POISON, results, settlement)
    return others


def _waves(
    events: Sequence[lanes.ClaimedEvent], context: ClaimContext, blocked: BlockedKeys
) -> Iterator[Sequence[Prepared]]:
    """Yield the events that may be under way together: one depth, or all where the order within a request is trusted.

    All are addressed at once, unless one of them changes identities: then each depth is, after those before it.
    """
    drafts = prepare(events, context.destination, context.trust)
    if context.destination.delivery.batch_order == "trust":
        yield address(drafts, context.queue, context.destination, context.trust)
        return
    if any(item.effect in mapping.CHANGES_IDENTITY for draft in drafts for item in draft.items):
        for _, wave in groupby(drafts, key=_depth):
            free = [draft for draft in wave if blocked.passes(draft.event)]
            yield address(free, context.queue, context.destination, context.trust)
    else:
        for _, wave in groupby(address(drafts, context.queue, context.destination, context.trust), key=_depth):
            yield list(wave)


def _depth(prepared: Prepared) -> int:
    return prepared.event.depth


def _sendable(wave: Iterable[Prepared], settlement: Settlement) -> Iterator[Prepared]:
    """Yield the events that may be sent now, and add the results of the others.

    An event that changes identifiers and has no cooldown yet gets one and is released. It is due when the events that
    share a key with it have been applied. An event from before its person's deletion may have to be buried, and one
    that caused an exception is.
    """
    context = settlement.context
    buries_late = context.destination.delivery.after_deletion == "bury"
    for prepared in wave:
        if not settlement.blocked.passes(prepared.event):
            continue
        if prepared.error is not None:
            _bury_failed(prepared, prepared.error, settlement)
        elif prepared.changes_identifiers:
            settlement.release(prepared.event, cooldown_ms=context.queue.cooldown_ms)
        elif prepared.late and buries_late and not prepared.is_shadow:
            _bury(prepared.event, Reason.DELETED, Results(message=_LATE), settlement)
        else:
            yield prepared


def _deliver_wave(prepared: Sequence[Prepared], settlement: Settlement) -> None:
    """Send the operations of the events and add the results to the settlement."""
    context = settlement.context
    window_ms = _repeat_window_ms(context)
    repeated = isolated(lambda events: recent_attributes.repeat(context.queue, events, window_ms), prepared)
    if any(sendable.error for sendable in repeated):
        repeated = list(_sendable(repeated, settlement))
    outcomes = _send_all(repeated, context)
    for sent in isolated(lambda events: _remember(events, outcomes, context, window_ms), repeated):
        _interpret(sent, outcomes[sent.event.sequence], settlement)


def _remember(
    prepared: Sequence[Prepared], outcomes: Outcomes, context: ClaimContext, window_ms: int
) -> Sequence[Prepared]:
    """Store what later events need to know of the delivered ones, and return the events. Idempotent."""
    recent_attributes.remember(context.queue, _delivered_updates(prepared, outcomes), window_ms)
    _remember_identities(prepared, outcomes, context)
    _begin_erasures(prepared, outcomes, context)
    return prepared


def _repeat_window_ms(context: ClaimContext) -> int:
    """Return for how long updates repeat recent attributes: 0 where each waits for the one before or may look older."""
    delivery = context.destination.delivery
    follows_at_once = delivery.order == "acknowledged" and delivery.identify_times == "rising"
    return context.queue.cooldown_ms if follows_at_once else 0


def _delivered_updates(prepared: Sequence[Prepared], outcomes: Outcomes) -> Iterator[Item]:
    """Yield the delivered items of events that update a person."""
    for sent in prepared:
        if sent.update:
            yield from (item for item, outcome in outcomes[sent.event.sequence] if isinstance(outcome, Delivered))


def _send_all(prepared: Sequence[Prepared], context: ClaimContext) -> Outcomes:
    """Return the outcomes of each event's items. An item that follows one that must be sent again is not sent, and has
    no outcome.

    A request that is refused as a whole is sent again in halves, the first before the second.
    """
    outcomes: Outcomes = defaultdict(list)
    events = {sendable.event.sequence: sendable.event for sendable in prepared}
    blocked = BlockedKeys()
    for send, items in _by_sender(prepared, context):
        requests = deque(pack(items, context.destination.batch_items))
        while requests:
            request = requests.popleft()
            if blocked:
                passing = tuple(item for item in request.items if blocked.passes(events[item.sequence]))
                request = Request(request.path, passing)
            if not request.items:
                continue
            results = send(request)
            if isinstance(results[0], Split):
                requests.extendleft(reversed(request.halves()))
                continue
            for item, outcome in zip(request.items, results, strict=True):
                outcomes[item.sequence].append((item, outcome))
                if type(outcome) in _NOT_YET:
                    blocked.block(events[item.sequence])
    return outcomes


def _by_sender(prepared: Sequence[Prepared], context: ClaimContext) -> Iterator[tuple[Send, Iterable[Item]]]:
    """Yield the items that may share requests, and what sends them: shadow events share none with others."""
    if context.send_shadow is None:
        for items in _rounds(prepared, context.destination):
            yield context.send, items
        return
    shadow = {sendable.event.sequence for sendable in prepared if sendable.is_shadow}
    for items in map(list, _rounds(prepared, context.destination)):
        yield context.send_shadow, [item for item in items if item.sequence in shadow]
        yield context.send, [item for item in items if item.sequence not in shadow]


def _rounds(prepared: Sequence[Prepared], destination: mapping.Destination) -> Iterator[Iterable[Item]]:
    """Yield the items that may share requests: the first items of all events, then the second ones, and so on.

    Where the order within a request is trusted, all items may, in their order.
    """
    if destination.delivery.batch_order == "trust":
        yield [item for sendable in prepared for item in sendable.items]
    else:
        for items in zip_longest(*(sendable.items for sendable in prepared)):
            yield [item for item in items if item is not None]


def _remember_identities(prepared: Sequence[Prepared], outcomes: Outcomes, context: ClaimContext) -> None:
    """Store what the delivered operations changed of identities, before their events are settled."""
    changes = [
        Change(item.effect, orjson.loads(item.data), sent.happened_at_ms, sent.source in context.trust.trusted)
        for sent in prepared
        for item, outcome in outcomes[sent.event.sequence]
        if item.effect in mapping.CHANGES_IDENTITY and isinstance(outcome, Delivered)
        if sent.redirects or item.effect != "merge"
    ]
    identity_memory.remember(context.queue, changes, context.destination.identifiers)


def _begin_erasures(prepared: Sequence[Prepared], outcomes: Outcomes, context: ClaimContext) -> None:
    """Have the people erased here whose deletion or suppression was delivered.

    After a deletion all that was accepted before it is erased, after a suppression everything.
    """
    for sent in prepared:
        request = sent.privacy_request
        if request is None or request.action == "unsuppress" or not _is_delivered(sent, outcomes[sent.event.sequence]):
            continue
        receipt_id = erasure.begin_receipt(ErasureContext(context.queue, context.destination), request, sent.message_id)
        before = sent.event.sequence + 1 if request.action == "delete" else None
        receipts.mark_sent(context.queue, receipt_id, request.person, before)


def _is_delivered(prepared: Prepared, outcomes: Sequence[tuple[Item, Outcome]]) -> bool:
    for _, outcome in outcomes:
        if not isinstance(outcome, Delivered):
            return False
    return len(outcomes) == len(prepared.items)


def _interpret(prepared: Prepared, outcomes: Sequence[tuple[Item, Outcome]], settlement: Settlement) -> None:
    """Add the result of one event: the one place that interprets outcomes."""
    if _is_delivered(prepared, outcomes) and (not prepared.failures or prepared.is_shadow):
        if prepared.failures:
            settlement.refuse_shadow(prepared)
        elif prepared.error is None:
            settlement.deliver(prepared)
            for item, _ in outcomes:
                if item.unapplied:
                    settlement.add_unapplied(prepared.event, item.unapplied)
        else:
            _bury_failed(prepared, prepared.error, settlement, accepted=prepared.items)
        return
    last = outcomes[-1][1] if outcomes else None  # nothing follows an item that must be sent again
    if isinstance(last, Paused):
        settlement.release(prepared.event, delay_s=last.after_s)
    elif isinstance(last, RetryLater):
        _retry(prepared, outcomes, last, settlement)
    elif len(outcomes) < len(prepared.items):  # it follows an event that must be sent again
        settlement.release(prepared.event)
    else:
        reason = Reason.INVALID if prepared.failures else Reason.REJECTED
        _bury_sent(prepared, outcomes, reason, settlement)


def _retry(
    prepared: Prepared,
    outcomes: Sequence[tuple[Item, Outcome]],
    last: RetryLater,
    settlement: Settlement,
) -> None:
    """Release the event with a backoff, or bury it when it was tried too often."""
    event, context, now_s = prepared.event, settlement.context, time.time()
    attempts, age_s = len(event.attempts), now_s - event.accepted_at_ms / 1000
    if last.counts and retries.is_exhausted(attempts + 1, age_s):
        _bury_sent(prepared, outcomes, Reason.EXHAUSTED, settlement, message=last.reason)
    else:
        delay_s = retries.release_delay_s(last, attempts, context.retry_base_s)
        attempt = record.attempt(now_s, last.reason, context.worker) if last.counts else b""
        settlement.release(event, delay_s=delay_s, attempt=attempt)


def _bury_sent(
    prepared: Prepared,
    outcomes: Sequence[tuple[Item, Outcome]],
    reason: Reason,
    settlement: Settlement,
    message: str | None = None,
) -> None:
    """Bury an event whose items were sent, with what each of them came to."""
    results = Results(
        failures=prepared.failures,
        refusals=tuple((item, outcome) for item, outcome in outcomes if isinstance(outcome, Rejected | RetryLater)),
        accepted=tuple(item for item, outcome in outcomes if isinstance(outcome, Delivered)),
        unsent=prepared.items[len(outcomes) :],
        message=message,
    )
    _bury(prepared.event, reason, results, settlement)


def _bury_failed(
    prepared: Prepared,
    error: Exception,
    settlement: Settlement,
    accepted: tuple[Item, ...] = (),
) -> None:
    """Bury an event that caused an exception."""
    if isinstance(error, TooDeep | TooLarge):
        _bury(prepared.event, Reason.INVALID, Results(message=str(error)), settlement)
        return
    name, sequence = settlement.context.queue.name, prepared.event.sequence
    log.unhandled("an event, which becomes a dead letter", error, destination=name, sequence=sequence)
    results = Results(accepted=accepted, message=f"unhandled exception: {type(error).__name__}: {error}")
    _bury(prepared.event, Reason.INTERNAL, results, settlement)


def _bury(event: lanes.ClaimedEvent, reason: Reason, results: Results, settlement: Settlement) -> None:
    context = settlement.context
    failed = FailedEvent(
        event=event,
        results=results,
        reason=reason,
        destination=context.destination,
        at_s=time.time(),
        worker=context.worker,
        configuration=context.configuration,
    )
    failure = failed.failure()
    content = orjson.loads(failure)
    settlement.bury(event, failure, reason, content.get("message"), **_line(event, content.get("faults")))


def _line(event: lanes.ClaimedEvent, faults: Sequence[dict[str, Any]] | None) -> dict[str, Any]:
    """Return fields of the log for an event that is buried: those of its first fault, without its texts."""
    line: dict[str, Any] = {"message_id": _message_id(event)}
    if not faults:
        return line
    first, response = faults[0], faults[0].get("response") or {}
    found = {"subscription": first.get("subscription"), "action": first.get("action"), "status": response.get("status")}
    return line | found


def _message_id(event: lanes.ClaimedEvent) -> str | None:
    """Return the message id if a library made it; one that a sender chose may be personal."""
    try:
        message_id = str(unpack(event.body)[1].get("messageId"))
    except Exception:  # the event cannot be read, which may be why it is buried
        return None
    return message_id if _MADE_BY_LIBRARY.fullmatch(message_id) else None
