"""How the lane tests speak to a queue: short verbs, and a hand on the clock."""

from __future__ import annotations

import time

import redis

import lanes
from lanes import keys

QUEUE = "q"
LIMIT = 10_000
COOLDOWN_MS = 60_000
WORKER = "a worker"
_FOR_EVER = (":seq", ":newest", ":total", ":layout", ":config", ":fates:total")


def queue_of(client: redis.Redis, *, limit: int = LIMIT) -> lanes.Queue:
    """The queue of the lane tests, with the values that all of them share."""
    return lanes.Queue(client=client, name=QUEUE, cooldown_ms=COOLDOWN_MS, dedupe_s=3600, join_s=3600, limit=limit)


def event(
    name: str, *keys: str, body: bytes | None = None, cooldown_ms: int = 0, join: tuple[str, str] | None = None
) -> lanes.NewEvent:
    """An event whose message id is its name."""
    return lanes.NewEvent(body if body is not None else name.encode(), keys, name, cooldown_ms, join)


def append(client: redis.Redis, *events: lanes.NewEvent, limit: int = LIMIT) -> lanes.Appended:
    return lanes.append(queue_of(client, limit=limit), events)


def claim(
    client: redis.Redis,
    events: int = 100,
    max_bytes: int = 1_000_000,
    depth: int = 100,
    lease_ms: int = 60_000,
    batch_wait_ms: int = 0,
    max_sharing: int = 1,
) -> lanes.Claim:
    return lanes.claim(
        queue_of(client),
        lease_ms=lease_ms,
        max_events=events,
        max_bytes=max_bytes,
        max_depth=depth,
        poll_ms=0,
        batch_wait_ms=batch_wait_ms,
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
    return lanes.settle(queue_of(client), claimed.id, delivered=delivered)


def release(client: redis.Redis, claimed: lanes.Claim, *which: str, delay_ms: int = 0) -> lanes.Settled:
    by_name = sequences(claimed)
    released = [lanes.Release(by_name[name], delay_ms, b"tried") for name in which or by_name]
    return lanes.settle(queue_of(client), claimed.id, released=released)


def bury(client: redis.Redis, claimed: lanes.Claim, *which: str) -> lanes.Settled:
    by_name = sequences(claimed)
    return lanes.settle(
        queue_of(client), claimed.id, buried=[lanes.Burial(by_name[name], b"failure") for name in which]
    )


def block(client: redis.Redis, claimed: lanes.Claim, name: str) -> None:
    burial = lanes.Burial(sequences(claimed)[name], b"failure", blocks=True)
    lanes.settle(queue_of(client), claimed.id, buried=[burial])


def stats(client: redis.Redis) -> lanes.Stats:
    return lanes.stats(queue_of(client))


def expire(client: redis.Redis, claimed: lanes.Claim) -> None:
    """Let the lease of this claim end now."""
    client.zadd(keys.CLAIMS.of(QUEUE), {claimed.id: 0}, xx=True)


def expire_claims(client: redis.Redis, *which: int, times: int = 3) -> None:
    """Let so many claims of each of these events have ended without a word."""
    client.hset(keys.EXPIRED_CLAIMS.of(QUEUE), mapping=dict.fromkeys(map(str, which), b"1 id/worker\n" * times))


def lose_record(client: redis.Redis, *which: int) -> None:
    """Delete the records of these events, as nothing in Segue does."""
    client.hdel(keys.EVENT.of(QUEUE), *map(str, which))


def make_due(client: redis.Redis) -> None:
    """Let every delay end now."""
    delayed = client.zrange(keys.READY.of(QUEUE), 0, -1)
    if delayed:
        client.zadd(keys.READY.of(QUEUE), dict.fromkeys(delayed, 0))


def end_waits(client: redis.Redis, *, before_ms: int = 10**13) -> None:
    """Let no event wait for earlier ones any more whose wait would end before that. What is due stays as it is."""
    seconds, microseconds = client.time()
    ended = b"%013d" % (int(seconds) * 1000 + microseconds // 1000 - 1)
    for key in client.keys(f"{keys.base(QUEUE)}:rank:*"):
        ranks = {event: rank for event, rank in client.hgetall(key).items() if int(rank[65:78]) < before_ms}
        if ranks:
            client.hset(key, mapping={event: rank[:65] + ended + rank[78:] for event, rank in ranks.items()})
    links = client.hgetall(keys.LINKS.of(QUEUE)).items()
    waits = {event: stored for event, stored in links if 0 < int(stored[1:14]) < before_ms}
    if waits:
        mapping = {event: stored[:1] + ended + stored[14:] for event, stored in waits.items()}
        client.hset(keys.LINKS.of(QUEUE), mapping=mapping)


def forget_ranks(client: redis.Redis) -> None:
    """Let the ranks of all events be forgotten."""
    if ranks := client.keys(f"{keys.base(QUEUE)}:rank:*"):
        client.delete(*ranks)


def accepted_at_ms(client: redis.Redis, sequence: int) -> int:
    """When an unfinished event was accepted, Redis' clock."""
    return int(client.hget(keys.EVENT.of(QUEUE), str(sequence))[:13])


def due_in_ms(client: redis.Redis, sequence: int) -> float:
    """How long until this event, neither blocked nor claimed, is due."""
    seconds, microseconds = client.time()
    due = client.zscore(keys.READY.of(QUEUE), sequence)
    assert due is not None
    return float(due) - (seconds * 1000 + microseconds / 1000)


def line_up(client: redis.Redis) -> None:
    """Let what is ready be in order of acceptance, whichever millisecond it became so: a history can be repeated."""
    now = time.time() * 1000 + 1000
    ready = client.zrangebyscore(keys.READY.of(QUEUE), "-inf", now)
    if ready:
        client.zadd(keys.READY.of(QUEUE), {sequence: int(sequence) for sequence in ready})


def grow_old(client: redis.Redis, what: str) -> None:
    """Let what is remembered as `what` (finished_at, cooling_until, join) be of the generation before this one."""
    prefix = f"{keys.base(QUEUE)}:{what}:"
    for key in client.keys(f"{prefix}*"):
        generation, colon, part = key.decode().removeprefix(prefix).partition(":")
        client.rename(key, f"{prefix}{int(generation) - 1}{colon}{part}")


def leftovers(client: redis.Redis) -> set[str]:
    """The suffixes of what an empty queue still keeps, but for counters and what it forgets in a while."""
    prefix = keys.base(QUEUE)
    names = client.keys(f"{prefix}*")
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.pttl(name)
        found = {
            name.decode().removeprefix(prefix): ttl_ms for name, ttl_ms in zip(names, pipeline.execute(), strict=True)
        }
    remembered = (
        ":fates:",
        ":rank:",
        ":seen:",
        ":finished_at:",
        ":cooling_until:",
        ":cooled:",
        ":join:",
        ":joined:",
        ":wakeup",
    )
    for_ever = -1
    in_time = {suffix for suffix, ttl_ms in found.items() if suffix.startswith(remembered) and ttl_ms != for_ever}
    if ":missing" in found or ":dead" in found:  # these are open for the audit
        in_time.update(suffix for suffix in found if suffix in (":open", ":buried_as") or suffix.startswith(":fates:"))
    return {suffix for suffix in found.keys() - in_time if suffix not in _FOR_EVER}
