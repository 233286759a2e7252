"""What the lanes cost on a real server: per event, and by depth, number of keys and length of a chain.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. `python -m bench.lanes [PART…]` runs all parts or
those that are named; PARTS lists them. One Python client, 100 events an append, 500 a claim, two keys an event,
append-only file flushed every second. `redis_us` is processor time of the server's main thread. A rate is what client
and server can do together on this machine. Ratios compare queues on one server, by the medians of alternating rounds.

In a name, `shared` means that 1,000 people have all the events, so that events share keys; `independent` means that
each event has keys of its own. DEPTH and CHAIN set the sizes of the deep queue and of the long chain.

Caveats: the append-only file is not rewritten meanwhile. Memory is that of the wheel's Valkey; the tables of Redis 7
take more (docs/lanes.md).
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import mean, median

import orjson
import redis

import bench
import lanes
from bench.support import embedded
from bench.support.bodies import UNKNOWN, events
from lanes import keys, records
from mapping.envelope import pack

BODY = os.urandom(300)  # the packed size of an event of 1 KB with unknown words, see bench/packing.py
SAMPLE = 10_000
COOLDOWN_MS = 5_000  # as in production
DEPTH = int(os.environ.get("DEPTH", "1000000"))
CHAIN = int(os.environ.get("CHAIN", "100000"))
ROUNDS = 5
DAY_S = 86_400

Keys = Callable[[int], tuple[str, ...]]


def people(count: int) -> Keys:
    """Return the keys of events by number, where so many people have all the events."""
    return lambda n: (f"user:{n % count}", f"anonymous:{n % count}")


def independent(n: int) -> tuple[str, ...]:
    """Return the keys of an event that no other event has."""
    return (f"user:{n}", f"anonymous:{n}")


class MeasuredQueue:
    """A queue that is filled and drained, and the time that the server spends on it.

    An append carries `per_append` events, a claim and its settling `per_claim` at most.
    """

    def __init__(
        self, client: redis.Redis, name: str, keys_of: Keys, *, per_append: int = 100, per_claim: int = 500
    ) -> None:
        self.queue = lanes.Queue(client=client, name=name, dedupe_s=DAY_S, limit=10_000_000)
        self.keys_of = keys_of
        self.per_append = per_append
        self.per_claim = per_claim
        self.appended = 0

    def append(self, count: int, bodies: list[bytes] | None = None) -> None:
        """Append so many events, with these bodies in turns."""
        for first in range(self.appended, self.appended + count, self.per_append):
            last = min(first + self.per_append, self.appended + count)
            new = [
                lanes.NewEvent(bodies[n % len(bodies)] if bodies else BODY, self.keys_of(n), f"m{n}")
                for n in range(first, last)
            ]
            lanes.append(self.queue, new)
        self.appended += count

    def claim(self) -> lanes.Claim:
        """Claim what is ready."""
        return lanes.claim(
            self.queue,
            lease_ms=60_000,
            max_events=self.per_claim,
            max_bytes=10**7,
            max_depth=500,
            poll_ms=0,
        )

    def settle(self, claim: lanes.Claim) -> None:
        """Settle all events of the claim as delivered."""
        delivered = [event.sequence for event in claim.events]
        lanes.settle(self.queue, claim.id, delivered=delivered)

    def drain(self, most: int) -> None:
        """Claim and settle until at least so many events are delivered, or none is left."""
        done = 0
        while done < most and (claim := self.claim()).events:
            self.settle(claim)
            done += len(claim.events)

    def redis_us(self, work: Callable[[], object], count: int) -> float:
        """Do the work; return the server's time for each of the `count` events."""
        before = processor_us(self.queue.client)
        work()
        return (processor_us(self.queue.client) - before) / count

    def round_us(self, count: int = SAMPLE) -> tuple[float, float]:
        """Return the server's time to append an event, and to claim and settle one, at the depth there is now."""
        return (
            self.redis_us(lambda: self.append(count), count),
            self.redis_us(lambda: self.drain(count), count),
        )


def processor_us(client: redis.Redis) -> float:
    """Return the processor time of the server's main thread so far."""
    figures = client.info("cpu")
    return float(figures["used_cpu_user_main_thread"] + figures["used_cpu_sys_main_thread"]) * 1e6


def used_memory(client: redis.Redis) -> int:
    """Return the bytes that the server uses, after it has freed what was deleted; it does so in the background."""
    while client.info("memory")["lazyfree_pending_objects"]:
        time.sleep(0.01)
    memory: int = client.info("memory")["used_memory"]
    return memory


def medians(rounds: Sequence[tuple[float, ...]]) -> list[float]:
    """Return the median of each figure over the rounds."""
    return [median(figures) for figures in zip(*rounds, strict=True)]


def rates(client: redis.Redis) -> None:
    """What one client and the server can do together."""
    queue, rounds = MeasuredQueue(client, "rates", people(1000)), []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        queue.append(SAMPLE)
        appended = time.perf_counter()
        queue.drain(SAMPLE)
        rounds.append((SAMPLE / (appended - started), SAMPLE / (time.perf_counter() - appended)))
    append, drain = medians(rounds)
    bench.figure("lanes.append", append, "events/s")
    bench.figure("lanes.claim_and_settle", drain, "events/s")


def life(client: redis.Redis) -> None:
    """The whole life of an event: in a backlog, with shared keys and without, and in a short queue."""
    for name, keys_of in (("shared", people(1000)), ("independent", independent)):
        queue, rounds = MeasuredQueue(client, name, keys_of), []
        queue.append(1000)
        for _ in range(ROUNDS):
            queue.append(SAMPLE - 1000)
            rounds.append((queue.redis_us(lambda queue=queue: queue.append(1000), 1000), *phases(queue)))
        append, claim, settle, longest = medians(rounds)
        bench.figure(f"lanes.life.{name}", append + claim + settle, "redis_us/event")
        for phase, cost in (("append", append), ("claim", claim), ("settle", settle)):
            bench.figure(f"lanes.life.{name}.{phase}", cost, "redis_us/event")
        bench.figure(f"lanes.life.{name}.longest_call", longest / 1000, "redis_ms")
    queue = MeasuredQueue(client, "keeping_up", independent)

    def keep_up() -> None:
        for _ in range(20):
            queue.append(100)
            queue.drain(100)

    kept_up_us = median(queue.redis_us(keep_up, 2000) for _ in range(2 * ROUNDS))
    bench.figure("lanes.life.keeping_up", kept_up_us, "redis_us/event")


def calls(client: redis.Redis) -> None:
    """The life of an event where each append, claim and settling carries one event, over that in batches."""
    batches = MeasuredQueue(client, "batches", independent)
    singles = MeasuredQueue(client, "singles", independent, per_append=1, per_claim=1)
    batches.append(SAMPLE)
    singles.append(SAMPLE)
    of_batches, of_singles = side_by_side(batches, singles, count=2000)
    bench.figure("lanes.one_event_a_call", of_singles[2], "redis_us/event", of_batches[2])
    compare("one_event_a_call", of_singles[:2], of_batches[:2])


def phases(queue: MeasuredQueue) -> tuple[float, float, float]:
    """Claim and settle all events; return the time of each per event, and the time of the longest call."""
    claims, settlements, done = [], [], 0
    while True:
        start = processor_us(queue.queue.client)
        claim = queue.claim()
        between = processor_us(queue.queue.client)
        if not claim.events:
            return sum(claims) / done, sum(settlements) / done, max(claims + settlements)
        queue.settle(claim)
        claims.append(between - start)
        settlements.append(processor_us(queue.queue.client) - between)
        done += len(claim.events)


def memory(client: redis.Redis) -> None:
    """What Redis stores of a waiting event, without its message id, over the event as JSON of some 1,000 bytes."""
    sample = list(events(5_000, 7, UNKNOWN))
    bodies = [pack("website", event) for event in sample]
    raw, packed = mean(len(orjson.dumps(event)) for event in sample), mean(map(len, bodies))
    for name, keys_of in (("shared", people(1000)), ("independent", independent)):
        queue = MeasuredQueue(client, name, keys_of)
        queue.append(100)
        before = used_memory(client)
        queue.append(50_000, bodies)
        client.delete(*client.keys("*:seen:*"))
        each = (used_memory(client) - before) / 50_000
        bench.figure(f"lanes.server.memory.{name}", each, "bytes/waiting_event", raw)
        bench.figure(f"lanes.server.memory.{name}.overhead", each - packed, "bytes/waiting_event")


def message_ids(client: redis.Redis) -> None:
    """The memory of message ids at 1,000 events/s: three full generations of 8 hours, and the present one.

    One in 64 of the buckets is filled as all would be, and only message ids of these buckets are looked up.
    """
    fingerprint, dice = records.fingerprint, random.Random(1)
    records.fingerprint = lambda message_id: (
        b"\0" + bytes((fingerprint(message_id)[1] % 64,)) + fingerprint(message_id)[2:]
    )
    try:
        queue, rounds = MeasuredQueue(client, "seen", independent), []
        empty_us = median(queue.round_us()[0] for _ in range(ROUNDS))
        client.delete(*client.keys("*:seen:*"))
        buckets = [bytes((0, high, low)) for high in range(64) for low in range(256)]
        generation_ms = DAY_S * 1000 // 3
        current, before = int(client.time()[0] * 1000 // generation_ms), used_memory(client)
        count = DAY_S * 1000 // 3 // 64
        for generation in range(current - 3, current + 1):
            prints: dict[bytes, list[bytes]] = {bucket: [] for bucket in buckets}
            for _ in range(count):
                prints[dice.choice(buckets)].append(dice.randbytes(6))
            for first in range(0, len(buckets), 500):
                some = buckets[first : first + 500]
                client.hset(f"{keys.base('seen')}:seen:{generation}", mapping={b: b"".join(prints[b]) for b in some})
        each = (used_memory(client) - before) / (4 * count)
        bench.figure("lanes.message_id", each, "bytes/id")
        rounds = [queue.round_us()[0] for _ in range(ROUNDS)]
        bench.figure("lanes.append.at_24_hours_of_message_ids", median(rounds), "redis_us/event", empty_us)
    finally:
        records.fingerprint = fingerprint


def depth(client: redis.Redis) -> None:
    """A deep queue over a shallow one, with shared keys and without."""
    shallow, deep = MeasuredQueue(client, "shallow", people(1000)), MeasuredQueue(client, "deep", people(1000))
    few, many = MeasuredQueue(client, "few", independent), MeasuredQueue(client, "many", independent)
    shallow.append(10_000)
    few.append(10_000)
    deep.append(DEPTH)
    many.append(DEPTH)
    figures = side_by_side(shallow, deep, few, many)
    compare(f"depth_{DEPTH}_over_10000", figures[1], figures[0])
    compare(f"depth_{DEPTH}_over_10000.independent", figures[3], figures[2])
    compare(f"people_{DEPTH}_over_1000", figures[3], figures[1])


def chain(client: redis.Redis) -> None:
    """The long chain of one person over a chain of 1,000; the samples are as small as the short chain."""
    short, long = MeasuredQueue(client, "short", people(1)), MeasuredQueue(client, "long", people(1))
    short.append(1000)
    long.append(CHAIN)
    figures = side_by_side(short, long, count=1000, rounds=3 * ROUNDS)
    compare(f"chain_{CHAIN}_over_1000", figures[1], figures[0])


def side_by_side(*queues: MeasuredQueue, count: int = SAMPLE, rounds: int = ROUNDS) -> list[list[float]]:
    """Measure the queues in turns; return the medians of each: append, claim and settle, and their sum.

    The first round does not count.
    """
    costs_of: list[list[tuple[float, ...]]] = [[] for _ in queues]
    for turn in range(rounds + 1):
        for queue, figures in zip(queues, costs_of, strict=True):
            costs = queue.round_us(count)
            figures.extend([(*costs, sum(costs))] if turn else [])
    return [medians(figures) for figures in costs_of]


def compare(name: str, figures: Sequence[float], baseline: Sequence[float]) -> None:
    """Print a figure for each phase that was measured."""
    for phase, cost, base in zip(("append", "claim_and_settle", "life"), figures, baseline, strict=False):
        bench.figure(f"lanes.{name}.{phase}", cost, "redis_us/event", base)


@contextmanager
def server() -> Iterator[redis.Redis]:
    """Yield a client of an empty server that writes its append-only file as in production."""
    config = {"appendonly": "yes", "appendfsync": "everysec", "auto-aof-rewrite-percentage": "0", "save": ""}
    with embedded.server(config) as url, redis.Redis.from_url(url, socket_timeout=60) as client:
        yield client


PARTS = {part.__name__: part for part in (rates, life, calls, memory, message_ids, depth, chain)}


if __name__ == "__main__":
    unknown = sorted(set(sys.argv[1:]) - set(PARTS))
    if unknown:
        raise SystemExit(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    with server() as client:
        for name in sys.argv[1:] or PARTS:
            PARTS[name](client)
            client.flushall()
