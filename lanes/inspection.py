"""Inspection: the figures of a queue, and what one ordering key waits for. Nothing here writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from lanes import keys, records
from lanes.claims import claimant
from lanes.queue import Queue
from lanes.scripts import run

_HOT_LANES = 10
_STEPS = 20


@dataclass(frozen=True, slots=True)
class HotLane:
    """A lane of a thousand unfinished events or more: a busy person, or a key that many people share."""

    digest: bytes
    length: int


@dataclass(frozen=True, slots=True)
class Stats:
    """One queue at a moment. waiting = ready + delayed + claimed + blocked."""

    waiting: int  # accepted, neither delivered nor buried
    ready: int  # could be claimed now
    delayed: int  # released, or in a cooldown: due later
    claimed: int  # owned by open claims
    blocking: int  # dead letters whose successors wait; not among the waiting
    blocked: int  # behind an unfinished event that shares a key
    claims: int  # open claims
    dead: int  # dead letters
    oldest_age_s: float  # since the oldest unfinished event was accepted, to the second; 0 when there is none
    accepted_total: int
    duplicates_total: int
    delivered_total: int  # sent, and acknowledged by the service
    unsent_total: int  # finished without being sent
    buried_total: int
    released_total: int
    reaped_total: int
    spilled_total: int
    reordered_total: int  # put before events that were accepted earlier and happened later
    erased_total: int  # removed unsent, see `erase`
    unbounded_total: int  # keys that exceeded a bound on what one key can make others wait, see `NamedQueue`
    missing_total: int  # set aside because their record was missing, see `claim`
    hot: tuple[HotLane, ...] = field(default=())  # the longest first


@dataclass(frozen=True, slots=True)
class Step:
    """The head of a lane, and why it has not left yet."""

    sequence: int
    digest: bytes  # of the lane's key
    # ready | delayed | reordering (waits for earlier events) | claimed | blocking (a dead letter) |
    # missing (without a record) | waiting (for the next step)
    state: str
    # ready: ms since it was due; delayed, reordering: ms until then; claimed: ms until the lease ends; waiting: in how
    # many lanes
    figure: int
    claim: str | None
    accepted_at_ms: int
    body: bytes

    @property
    def by(self) -> str | None:
        """The claimant, when it is claimed."""
        return claimant(self.claim) if self.claim else None


@dataclass(frozen=True, slots=True)
class Waiting:
    """An unfinished event of a lane."""

    sequence: int
    accepted_at_ms: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Lane:
    """The unfinished events of one ordering key, and the chain of reasons why they wait."""

    length: int
    tail: int  # sequence of the last one
    steps: tuple[Step, ...]  # its head first; each 'waiting' step is explained by the one after it


def stats(queue: Queue) -> Stats:
    """Return the figures of `queue`, without a scan of it."""
    waiting, ready, delayed, claimed, blocking, claims, dead, age_ms, totals, hot = run(queue, "stats", (_HOT_LANES,))
    total = {name.decode(): int(count) for name, count in _pairs(totals)}
    return Stats(
        waiting=waiting,
        ready=ready,
        delayed=delayed,
        claimed=claimed,
        blocking=blocking,
        blocked=waiting - ready - delayed - claimed,
        claims=claims,
        dead=dead,
        oldest_age_s=max(age_ms, 0) / 1000,
        accepted_total=total.get("accepted", 0),
        duplicates_total=total.get("duplicates", 0),
        delivered_total=total.get("delivered", 0),
        unsent_total=total.get("unsent", 0),
        buried_total=total.get("buried", 0),
        released_total=total.get("released", 0),
        reaped_total=total.get("reaped", 0),
        spilled_total=total.get("spilled", 0),
        reordered_total=total.get("reordered", 0),
        unbounded_total=total.get("unbounded_keys", 0),
        erased_total=total.get("erased", 0),
        missing_total=total.get("missing", 0),
        hot=tuple(HotLane(digest, int(length)) for digest, length in _pairs(hot)),
    )


def inspect(queue: Queue, key: str | bytes) -> Lane | None:
    """Return what the lane of this ordering key, or of its digest, waits for; None when it is empty."""
    reply = run(queue, "inspect", (key if isinstance(key, bytes) else records.digest(key), _STEPS))
    if not reply:
        return None
    length, tail, *steps = reply
    return Lane(length, tail, tuple(_step(*step) for step in steps))


def lane_events(queue: Queue, digest: bytes, *, most: int) -> list[Waiting]:
    """Return the unfinished events of a lane in their order, the first `most` of them."""
    found: list[Waiting] = []
    lane = cast(bytes | None, queue.client.hget(keys.LANE.of(queue.name), digest))
    sequence = records.read_lane(lane).head if lane else None
    while sequence is not None and len(found) < most:
        with queue.client.pipeline(transaction=True) as pipeline:
            pipeline.hget(keys.EVENT.of(queue.name), str(sequence))
            pipeline.hget(keys.LINKS.of(queue.name), str(sequence))
            record, links = pipeline.execute()
        if record is None:
            break  # it left meanwhile
        accepted_at_ms, digests, body = records.read_record(record)
        found.append(Waiting(sequence, accepted_at_ms, body))
        sequence = records.read_links(links).successor(digests.index(digest))
    return found


def _step(sequence: int, digest: bytes, record: bytes, state: bytes, figure: int | bytes, claim: bytes = b"") -> Step:
    accepted_at_ms, _, body = records.read_record(record) if record else (0, (), b"")
    return Step(sequence, digest, state.decode(), int(figure), claim.decode() or None, accepted_at_ms, body)


def _pairs(flat: list[Any]) -> zip[tuple[Any, Any]]:
    values = iter(flat)
    return zip(values, values, strict=True)
