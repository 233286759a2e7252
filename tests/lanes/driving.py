"""How the lane tests speak to a queue: short verbs, and a hand on the clock."""

from __future__ import annotations

import time

import redis

import lanes
from lanes.keys import base

QUEUE = "q"
LIMIT = 10_000
HOLD_MS = 60_000
WORKER = "a worker"


def event(
    name: str, *keys: str, body: bytes | None = None, hold_ms: int = 0, join: tuple[str, str] | None = None
) -> lanes.NewEvent:
    """An event whose message id is its name."""
    return lanes.NewEvent(body if body is not None else name.encode(), keys, name, hold_ms, join)


def append(client: redis.Redis, *events: lanes.NewEvent, limit: int = LIMIT) -> lanes.Appended:
    return lanes.append(client, QUEUE, events, limit=limit, dedupe_s=3600, longest_hold_ms=HOLD_MS, join_s=3600)


def claim(
    client: redis.Redis,
    events: int = 100,
    max_bytes: int = 1_000_000,
    depth: int = 100,
    lease_ms: int = 60_000,
    patience_ms: int = 0,
    max_sharing: int = 1,
) -> lanes.Claim:
    return lanes.claim(
        client,
        QUEUE,
        lease_ms=lease_ms,
        max_events=events,
        max_bytes=max_bytes,
        max_depth=depth,
        listen_ms=0,
        longest_hold_ms=HOLD_MS,
        patience_ms=patience_ms,
        max_sharing=max_sharing,
        by=WORKER,
    )


def names(claimed: lanes.Claim) -> list[str]:
    return [event.body.decode() for event in claimed.events]


def sequences(claimed: lanes.Claim) -> dict[str, int]:
    """The sequence of each claimed event by its name."""
    return {event.body.decode(): event.sequence for event in claimed.events}


def depths(claimed: lanes.Claim) -> dict[str, int]:
    return {event.body.decode(): event.depth for event in claimed.events}


def deliver(client: redis.Redis, claimed: lanes.Claim, *which: str) -> lanes.Settled:
    """Settle the named events as delivered, all of the claim without names."""
    by_name = sequences(claimed)
    delivered = [by_name[name] for name in which or by_name]
    return lanes.settle(client, QUEUE, claimed.id, delivered=delivered, longest_hold_ms=HOLD_MS)


def release(client: redis.Redis, claimed: lanes.Claim, *which: str, delay_ms: int = 0) -> lanes.Settled:
    by_name = sequences(claimed)
    released = [lanes.Release(by_name[name], delay_ms, b"tried") for name in which or by_name]
    return lanes.settle(client, QUEUE, claimed.id, released=released, longest_hold_ms=HOLD_MS)


def bury(client: redis.Redis, claimed: lanes.Claim, *which: str) -> lanes.Settled:
    by_name = sequences(claimed)
    return lanes.settle(client, QUEUE, claimed.id, buried=[lanes.Burial(by_name[name], b"why") for name in which])


def stats(client: redis.Redis) -> lanes.Stats:
    return lanes.stats(client, QUEUE)


def expire(client: redis.Redis, claimed: lanes.Claim) -> None:
    """Let the lease of this claim end now."""
    client.zadd(f"{base(QUEUE)}:claims", {claimed.id: 0}, xx=True)


def die(client: redis.Redis, *which: int, times: int = 3) -> None:
    """Let so many claims of each of these events have ended without a word."""
    client.hset(f"{base(QUEUE)}:deaths", mapping=dict.fromkeys(map(str, which), b"1 id/worker\n" * times))


def make_due(client: redis.Redis) -> None:
    """Let every delay end now."""
    delayed = client.zrange(f"{base(QUEUE)}:ready", 0, -1)
    if delayed:
        client.zadd(f"{base(QUEUE)}:ready", dict.fromkeys(delayed, 0))


def due_in_ms(client: redis.Redis, sequence: int) -> float:
    """How long until this event, neither blocked nor claimed, is due."""
    seconds, microseconds = client.time()
    due = client.zscore(f"{base(QUEUE)}:ready", sequence)
    assert due is not None
    return float(due) - (seconds * 1000 + microseconds / 1000)


def line_up(client: redis.Redis) -> None:
    """Let what is ready be in order of acceptance, whichever millisecond it became so: a history can be repeated."""
    now = time.time() * 1000 + 1000
    ready = client.zrangebyscore(f"{base(QUEUE)}:ready", "-inf", now)
    if ready:
        client.zadd(f"{base(QUEUE)}:ready", {sequence: int(sequence) for sequence in ready})


def grow_old(client: redis.Redis, what: str) -> None:
    """Let what is remembered as `what` (rested, apart, join) be of the generation before this one."""
    prefix = f"{base(QUEUE)}:{what}:"
    for key in client.keys(f"{prefix}*"):
        generation, colon, part = key.decode().removeprefix(prefix).partition(":")
        client.rename(key, f"{prefix}{int(generation) - 1}{colon}{part}")


def leftovers(client: redis.Redis) -> set[str]:
    """The suffixes of what an empty queue still keeps, but for counters and what it forgets in a while."""
    prefix = base(QUEUE)
    found = {key.decode().removeprefix(prefix): client.pttl(key) for key in client.keys(f"{prefix}*")}
    remembered = (":seen:", ":rested:", ":apart:", ":join:", ":hint")
    for_ever = -1
    in_time = {suffix for suffix, ttl_ms in found.items() if suffix.startswith(remembered) and ttl_ms != for_ever}
    return {suffix for suffix in found.keys() - in_time if suffix not in (":seq", ":total")}
