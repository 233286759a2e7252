"""Claiming and settling: a worker takes events and settles them; expired claims return their events."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from types import MappingProxyType
from typing import Final, NamedTuple
from uuid import uuid4

from lanes import fates, records
from lanes.append import EVENTS_PER_CLAIM, listed, logger
from lanes.queue import Queue
from lanes.scripts import Argument, run

MOST_REAPED: Final = 10  # claims of one call of `reap.lua`
_SENT: Final[Mapping[int, str]] = MappingProxyType({})


class ExpiredClaim(NamedTuple):
    """A claim whose lease ended before its events were settled."""

    at_ms: int  # when its lease ended, Redis' clock
    by: str  # the claimant


class ClaimedEvent(NamedTuple):
    """An event that a claim owns."""

    sequence: int  # its number in the order of acceptance
    depth: int  # 0: may be sent at once; d: after the responses to all that it follows at depth d - 1
    attempts: tuple[bytes, ...]  # what was recorded of each attempt so far
    expired_claims: tuple[ExpiredClaim, ...]  # claims that expired while they owned it
    accepted_at_ms: int  # Redis' clock
    keys: tuple[bytes, ...]  # digests of its ordering keys
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """Events that the caller owns until the lease ends, by depth. Without events there is nothing to settle."""

    id: str
    events: tuple[ClaimedEvent, ...]
    next_due_ms: int | None  # when nothing was claimed: time until there may be an event, if the queue has any
    wake: int  # how many more deliverers the caller should request
    missing: tuple[int, ...] = ()  # events that were set aside, since they have no record


@dataclass(frozen=True, slots=True)
class Burial:
    """An event to move to the dead letters, and why: bytes that are kept with it. When it blocks, its successors
    wait.
    """

    sequence: int
    failure: bytes
    blocks: bool = False
    counted_as: str = fates.DEAD  # see `lanes.fates`


@dataclass(frozen=True, slots=True)
class Release:
    """An event to return to its lanes, due again after a delay."""

    sequence: int
    delay_ms: int
    attempt: bytes = b""  # what to record of the attempt, one line; empty: there was none
    cooldown_ms: int = 0  # its cooldown from now on; 0: unchanged


@dataclass(frozen=True, slots=True)
class Settled:
    """The result of settling."""

    # Events that the claim no longer owned, or whose predecessor is unfinished: unchanged. An event without a record is
    # lost too: it has left the claim with its successors, and the next claim sets it aside.
    lost: tuple[int, ...]
    ready: int  # events of the queue that could be claimed now


@dataclass(frozen=True, slots=True)
class Reaped:
    """The events of expired claims that were returned to their lanes."""

    events: int
    wake: bool  # the caller should request a deliverer


def claim(
    queue: Queue,
    *,
    lease_ms: int,
    max_events: int,
    max_bytes: int,
    max_depth: int,
    poll_ms: int,
    by: str = "",
    batch_wait_ms: int = 0,
    max_sharing: int = 1,
) -> Claim:
    """Claim events that are due, and the chains behind them; may return fewer than there are, and none.

    No other claim owns an event that shares a key with one of these, until they are settled or the lease ends. When it
    ends, the events record the expired claim and its claimant `by`. A caller that finds nothing and polls again within
    `poll_ms` suppresses other wake-ups meanwhile; 0 says that it stops polling. While other claims are open, a few
    events wait `batch_wait_ms` for more: in large claims each event costs less. Where chains are long, up to
    `max_sharing` claims share what is due.

    An event without a record is removed, counted (`Stats.missing_total`) and logged. Its successors go on as if it had
    finished. When nothing else was due, `next_due_ms` is 0.

    It is 0 too when the reply of Redis was lost and the client repeated the call. The events of the first call are then
    due again.
    """
    claim_id, limits = f"{uuid4().hex}/{by}", (max_events, max_bytes, max_depth)
    arguments = (claim_id, lease_ms, *limits, poll_ms, EVENTS_PER_CLAIM, queue.cooldown_ms, batch_wait_ms, max_sharing)
    due, wake, at_depth, sequences, stored, attempts, expired, missing = run(queue, "claim", arguments)
    if missing:
        logger.error(
            "queue %s: the records of events %s are missing; they were set aside and their successors freed",
            queue.name,
            listed(missing),
        )
    depths = chain.from_iterable(repeat(depth, count) for depth, count in enumerate(at_depth))
    rows = zip(sequences.split(), depths, attempts or repeat(b""), expired or repeat(b""), stored, strict=False)
    events = tuple(
        ClaimedEvent(
            int(sequence),
            depth,
            tuple(attempts.splitlines()),
            _expired_claims(expired) if expired else (),
            *records.read_record(record),
        )
        for sequence, depth, attempts, expired, record in rows
    )
    return Claim(claim_id, events, None if due < 0 else due, wake, tuple(map(int, missing)))


def claimant(claim_id: str) -> str:
    """Return the claimant, as given to `claim` as `by`."""
    return claim_id.partition("/")[2]


def _expired_claims(lines: bytes) -> tuple[ExpiredClaim, ...]:
    rows = (line.split(" ", 1) for line in lines.decode().splitlines())
    return tuple(ExpiredClaim(int(at_ms), claimant(claim_id)) for at_ms, claim_id in rows)


def settle(
    queue: Queue,
    claim_id: str,
    *,
    delivered: Collection[int] = (),
    buried: Collection[Burial] = (),
    released: Collection[Release] = (),
    counted_as: Mapping[int, str] = _SENT,
) -> Settled:
    """Settle events of the claim; idempotent, and harmless when the claim was lost.

    `counted_as`: of delivered events that were not sent, or whose source is known, the name of their fate, see
    `lanes.fates`.

    Delivered and buried events leave their lanes, which frees their successors. A released event keeps its position,
    and its successors go on waiting; those within the claim are released with it. The same holds for the successors of
    a buried event that blocks.
    """
    lost, ready, unbounded = run(
        queue, "settle", settle_arguments(queue, claim_id, delivered, buried, released, counted_as)
    )
    if unbounded:
        logger.warning(
            "queue %s: the cooldowns of %d keys have lasted %.0f s; these keys delay no event for the next hour",
            queue.name,
            unbounded,
            queue.most_cooling_ms / 1000,
        )
    return Settled(tuple(sorted(map(int, lost))), ready)


def settle_arguments(
    queue: Queue,
    claim_id: str,
    delivered: Collection[int] = (),
    buried: Collection[Burial] = (),
    released: Collection[Release] = (),
    counted_as: Mapping[int, str] = _SENT,
) -> list[Argument]:
    """Return the arguments of `settle.lua`."""
    leaving = [burial for burial in buried if not burial.blocks]
    blocking = [burial for burial in buried if burial.blocks]
    finished = sorted({*delivered, *(burial.sequence for burial in leaving)})
    arguments: list[Argument] = [
        claim_id,
        queue.cooldown_ms,
        queue.most_cooling_ms,
        len(finished),
        *finished,
        *_fates(finished, leaving, counted_as),
        len(leaving),
    ]
    for burial in leaving:
        arguments += (burial.sequence, burial.failure)
    arguments.append(len(blocking))
    for burial in blocking:
        arguments += (burial.sequence, burial.failure, burial.counted_as)
    arguments.append(len(released))
    for release in released:
        arguments += (release.sequence, release.delay_ms, release.attempt, release.cooldown_ms)
    return arguments


def _fates(finished: Collection[int], buried: Collection[Burial], counted_as: Mapping[int, str]) -> tuple[bytes, str]:
    """Return the names of the fates as `settle.lua` takes them. Most calls have one name."""
    names = frozenset(counted_as.values())
    if len(names) == 1 and not buried and len(counted_as) == len(finished):
        return b"", next(iter(names))
    name_of = {**counted_as, **{burial.sequence: burial.counted_as for burial in buried}}
    groups, distinct = fates.grouped([name_of.get(sequence, fates.SENT) for sequence in finished])
    return groups, "\n".join(distinct)


def extend(queue: Queue, claim_id: str, *, lease_ms: int) -> bool:
    """Return whether the claim still exists; if so, its lease now ends `lease_ms` from now."""
    return bool(run(queue, "extend", (claim_id, lease_ms)))


def reap(queue: Queue) -> Reaped:
    """Return the events of expired claims to their lanes; idempotent."""
    events, is_wanted, claims = 0, False, MOST_REAPED
    while claims == MOST_REAPED:
        of_call, wake, claims = run(queue, "reap", (MOST_REAPED,))
        events, is_wanted = events + of_call, is_wanted or wake == 1
    return Reaped(events, is_wanted)
