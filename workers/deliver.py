"""One claim to its outcomes: translate, pack, send, settle, depth by depth.

Handed its `send`, so that it runs without a network. What it promises: an operation leaves only after the answers to
all that its event follows; a lease is checked before each send; an event that is put back takes along, unsent,
whatever follows it in this claim.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import redis

import lanes
import mapping
from mapping.event import unpack
from workers import letters, retries, wire
from workers.letters import Reason
from workers.outcomes import Outcome, Paused, Rejected, RetryLater, Split
from workers.requests import Item, Request, encode, pack

log = logging.getLogger(__name__)

# An event is buried unseen when this many workers died while they had it; the last two times it was claimed alone.
MOST_DEATHS = 5
# How long an event waits when the set-up is at fault.
PAUSE_MS = 10_000
# Left over between the end of a send and the end of the lease.
_MARGIN_S = 1.0

Send = Callable[[Request], list[Outcome]]


class LeaseLost(Exception):
    """The claim is no longer ours; somebody else works on its events, so nothing more may be sent."""


@dataclass(slots=True)
class Lease:
    """The time for which a claim is ours, by this process's clock, counted from before it was asked for."""

    client: redis.Redis
    queue: str
    claim_id: str
    lease_ms: int
    asked_at: float

    def cover(self, seconds: float) -> None:
        """Make sure that the claim is ours for `seconds` more; raise LeaseLost when it is not."""
        if self.asked_at + self.lease_ms / 1000 - time.monotonic() >= seconds:
            return
        asked_at = time.monotonic()
        if not lanes.extend(self.client, self.queue, self.claim_id, lease_ms=self.lease_ms):
            raise LeaseLost
        self.asked_at = asked_at


@dataclass(frozen=True, slots=True)
class Terms:
    """How patient delivery is."""

    retry_base_s: float
    timeout_s: float  # of one send
    lease_ms: int


@dataclass(slots=True)
class Verdicts:
    """What is to be settled of one depth."""

    delivered: list[int] = field(default_factory=list)
    buried: list[lanes.Burial] = field(default_factory=list)
    released: list[lanes.Release] = field(default_factory=list)


def work_off(
    claim: lanes.Claim,
    lease: Lease,
    destination: mapping.Destination,
    send: Send,
    terms: Terms,
    is_stopping: Callable[[], bool],
) -> None:
    """Bring every event of the claim to an end or back to its place; raise LeaseLost when the claim is lost."""
    held: set[bytes] = set()
    for _, depth in groupby(claim.events, key=lambda event: event.depth):
        events = list(_not_behind(depth, held))
        if is_stopping():
            _settle(lease, Verdicts(released=[lanes.Release(event.sequence, 0, counts=False) for event in events]))
            return
        verdicts = _deliver_depth(events, lease, destination, send, terms)
        released = {release.sequence for release in verdicts.released}
        held.update(key for event in events if event.sequence in released for key in event.keys)
        _settle(lease, verdicts)


def _not_behind(events: Iterator[lanes.ClaimedEvent], held: set[bytes]) -> Iterator[lanes.ClaimedEvent]:
    """Yield the events that share no key with one that was put back; the others' keys are held as well."""
    for event in events:
        if held.isdisjoint(event.keys):
            yield event
        else:
            held.update(event.keys)


def _deliver_depth(
    events: Sequence[lanes.ClaimedEvent], lease: Lease, destination: mapping.Destination, send: Send, terms: Terms
) -> Verdicts:
    now_s = time.time()
    verdicts = Verdicts()
    failures: dict[int, tuple[mapping.Failure, ...]] = {}
    rounds: list[list[Item]] = []
    for event in events:
        if event.deaths >= MOST_DEATHS:
            text = f"{event.deaths} workers died while they had this event"
            letter = letters.letter(event, now_s, Reason.DEADLY, message=text)
            verdicts.buried.append(lanes.Burial(event.sequence, letter))
            continue
        source, content = unpack(event.body)
        translation = mapping.translate(content, destination, now_s)
        failures[event.sequence] = translation.failures
        bodies = wire.bodies(translation.operations, source, content, event.accepted_at_ms)
        for index, (operation, body) in enumerate(zip(translation.operations, bodies, strict=True)):
            if index == len(rounds):
                rounds.append([])
            rounds[index].append(encode(event.sequence, operation, body))
    outcomes = _send_all(rounds, lease, destination, send, terms)
    for event in events:
        if event.sequence in failures:
            _judge(event, failures[event.sequence], outcomes[event.sequence], now_s, terms, verdicts)
    return verdicts


def _send_all(
    rounds: list[list[Item]], lease: Lease, destination: mapping.Destination, send: Send, terms: Terms
) -> dict[int, list[tuple[Item, Outcome]]]:
    """Return what became of each event's operations: the first ones of all events, then the second ones, and so on."""
    outcomes: dict[int, list[tuple[Item, Outcome]]] = defaultdict(list)
    for items in rounds:
        in_turn = (item for item in items if not _must_wait(outcomes[item.sequence]))
        for request in pack(in_turn, destination.batch_items):
            for item, outcome in zip(request.items, _send(request, lease, send, terms), strict=True):
                outcomes[item.sequence].append((item, outcome))
    return outcomes


def _must_wait(outcomes: list[tuple[Item, Outcome]]) -> bool:
    return any(isinstance(outcome, RetryLater | Paused) for _, outcome in outcomes)


def _send(request: Request, lease: Lease, send: Send, terms: Terms) -> list[Outcome]:
    """Send under the lease, again while nothing was accepted, and in halves when the whole was refused as such."""

    def attempt() -> list[Outcome]:
        lease.cover(terms.timeout_s + _MARGIN_S)
        return send(request)

    outcomes = retries.with_retries(attempt, terms.retry_base_s, within_s=terms.lease_ms / 2000)
    if isinstance(outcomes[0], Split):
        return [outcome for half in request.halves() for outcome in _send(half, lease, send, terms)]
    return outcomes


def _judge(
    event: lanes.ClaimedEvent,
    failures: tuple[mapping.Failure, ...],
    outcomes: list[tuple[Item, Outcome]],
    now_s: float,
    terms: Terms,
    verdicts: Verdicts,
) -> None:
    """Interpret the outcomes of one event: the one place that does."""
    refusals = tuple((item, outcome) for item, outcome in outcomes if isinstance(outcome, Rejected))
    for item, outcome in outcomes:
        if isinstance(outcome, Paused):
            verdicts.released.append(lanes.Release(event.sequence, PAUSE_MS, counts=False))
            return
        if isinstance(outcome, RetryLater):
            if _is_exhausted(event, now_s):
                refused = letters.letter(event, now_s, Reason.EXHAUSTED, refusals=((item, outcome),))
                verdicts.buried.append(lanes.Burial(event.sequence, refused))
            else:
                delay_s = retries.release_delay_s(outcome, event.attempts, terms.retry_base_s)
                verdicts.released.append(lanes.Release(event.sequence, int(delay_s * 1000), counts=True))
            return
    if failures or refusals:
        reason = Reason.INVALID if failures else Reason.REJECTED
        text = letters.letter(event, now_s, reason, failures=failures, refusals=refusals)
        verdicts.buried.append(lanes.Burial(event.sequence, text))
    else:
        verdicts.delivered.append(event.sequence)


def _is_exhausted(event: lanes.ClaimedEvent, now_s: float) -> bool:
    age_s = now_s - event.accepted_at_ms / 1000
    return event.attempts + 1 >= retries.MAX_ATTEMPTS or age_s > retries.MAX_AGE_S


def _settle(lease: Lease, verdicts: Verdicts) -> None:
    settled = lanes.settle(
        lease.client,
        lease.queue,
        lease.claim_id,
        delivered=verdicts.delivered,
        buried=verdicts.buried,
        released=verdicts.released,
    )
    if settled.lost:
        log.warning("%s: the claim lost %d events before it could settle them", lease.queue, len(settled.lost))
