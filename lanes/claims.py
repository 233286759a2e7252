"""Claiming and settling: how a worker takes events, says what became of them, and how lost claims come back."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain, repeat
from typing import NamedTuple
from uuid import uuid4

import redis

from lanes import keys
from lanes.append import EVENTS_PER_CLAIM
from lanes.scripts import Argument, run


class Death(NamedTuple):
    """A claim that expired."""

    at_ms: int  # when its lease ended, Redis' clock
    by: str  # who had claimed


class ClaimedEvent(NamedTuple):
    """An event that a claim owns."""

    sequence: int  # its place in the order of acceptance
    depth: int  # 0: may be sent at once; d: after everything it follows at depth d - 1 was answered
    attempts: tuple[bytes, ...]  # what was noted of each attempt so far
    deaths: tuple[Death, ...]  # claims that expired while they owned it
    accepted_at_ms: int  # Redis' clock
    keys: tuple[bytes, ...]  # digests of its ordering keys
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """Events that are ours until the lease ends, by depth. Without events there is nothing to settle."""

    id: str
    events: tuple[ClaimedEvent, ...]
    next_due_ms: int | None  # when nothing was claimed: how long until there may be something, if there is any event
    wake: int  # how many more deliverers the caller should ask for


@dataclass(frozen=True, slots=True)
class Burial:
    """An event to set aside, and why: bytes that are kept with it. When it holds, what is behind it waits."""

    sequence: int
    letter: bytes
    holds: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """An event to put back to its place, due again after a delay."""

    sequence: int
    delay_ms: int
    attempt: bytes = b""  # what to note of it, one line; empty: it was none
    hold_ms: int = 0  # from now on it keeps this distance from what shares a key with it; 0: as before


@dataclass(frozen=True, slots=True)
class Settled:
    """What settling came to."""

    lost: tuple[int, ...]  # events that the claim no longer owned, or whose predecessor is unfinished: nothing was done
    ready: int  # events of the queue that could be claimed now


@dataclass(frozen=True, slots=True)
class Reaped:
    """What came back from expired claims."""

    events: int
    wake: bool  # the caller should ask for a deliverer


def claim(
    client: redis.Redis,
    queue: str,
    *,
    lease_ms: int,
    max_events: int,
    max_bytes: int,
    max_depth: int,
    listen_ms: int,
    by: str = "",
    longest_hold_ms: int = 0,
    patience_ms: int = 0,
    max_sharing: int = 1,
) -> Claim:
    """Claim events that are due, and the chains behind them; may return fewer than there are, and none.

    No other claim owns an event that shares a key with one of these, until they are settled or the lease ends; then it
    is noted that it did, and `by` whose claim it was.
    A caller that finds nothing but asks again within `listen_ms` says so, and nobody else is woken meanwhile; with 0 it
    stops asking. While other claims are open, a few events are left for `patience_ms` until there are more: in large
    claims each event costs less. Where chains are long, up to `max_sharing` claims share what is due.
    """
    name, limits = f"{uuid4().hex}/{by}", (max_events, max_bytes, max_depth)
    arguments = (name, lease_ms, *limits, listen_ms, EVENTS_PER_CLAIM, longest_hold_ms, patience_ms, max_sharing)
    due, wake, at_depth, sequences, records, attempts, deaths = run(client, "claim", queue, arguments)
    depths = chain.from_iterable(repeat(depth, count) for depth, count in enumerate(at_depth))
    told = zip(sequences, depths, attempts or repeat(b""), deaths or repeat(b""), records, strict=False)
    events = tuple(
        ClaimedEvent(
            int(sequence),
            depth,
            tuple(attempts.splitlines()),
            _deaths(deaths) if deaths else (),
            *keys.read_record(record),
        )
        for sequence, depth, attempts, deaths, record in told
    )
    return Claim(name, events, None if due < 0 else due, wake)


def claimant(claim_id: str) -> str:
    """Return who claimed."""
    return claim_id.partition("/")[2]


def _deaths(lines: bytes) -> tuple[Death, ...]:
    told = (line.split(" ", 1) for line in lines.decode().splitlines())
    return tuple(Death(int(at_ms), claimant(claim_id)) for at_ms, claim_id in told)


def settle(
    client: redis.Redis,
    queue: str,
    claim_id: str,
    *,
    delivered: Collection[int] = (),
    buried: Collection[Burial] = (),
    released: Collection[Release] = (),
    longest_hold_ms: int = 0,
) -> Settled:
    """Say what became of events of the claim; idempotent, and harmless when the claim was lost.

    Delivered and buried events leave their lanes, which frees their successors. A released event keeps its place, and
    everything behind it goes on waiting; what follows it within the claim is released with it. So does what is behind a
    buried event that holds.
    """
    arguments = settle_arguments(claim_id, delivered, buried, released, longest_hold_ms)
    lost, ready = run(client, "settle", queue, arguments)
    return Settled(tuple(sorted(map(int, lost))), ready)


def settle_arguments(
    claim_id: str,
    delivered: Collection[int],
    buried: Collection[Burial],
    released: Collection[Release],
    longest_hold_ms: int,
) -> list[Argument]:
    """Return what `settle.lua` is told."""
    leaving = [burial for burial in buried if not burial.holds]
    staying = [burial for burial in buried if burial.holds]
    finished = sorted({*delivered, *(burial.sequence for burial in leaving)})
    arguments: list[Argument] = [claim_id, longest_hold_ms, len(finished), *finished, len(leaving)]
    for burial in leaving:
        arguments += (burial.sequence, burial.letter)
    arguments.append(len(staying))
    for burial in staying:
        arguments += (burial.sequence, burial.letter)
    arguments.append(len(released))
    for release in released:
        arguments += (release.sequence, release.delay_ms, release.attempt, release.hold_ms)
    return arguments


def extend(client: redis.Redis, queue: str, claim_id: str, *, lease_ms: int) -> bool:
    """Return whether the claim still exists; if so, its lease now ends `lease_ms` from now."""
    return bool(run(client, "extend", queue, (claim_id, lease_ms)))


def reap(client: redis.Redis, queue: str, *, max_claims: int = 100) -> Reaped:
    """Return the events of expired leases to their place; idempotent."""
    events, wake = run(client, "reap", queue, (max_claims,))
    return Reaped(events, wake == 1)
