"""`make ha`: failovers and restarts of Redis under load, with four workers and two ingests.

Redis with two replicas and three Sentinels, once for each `SEGUE_DURABILITY`; then a Redis Cluster of three primaries
with a replica each, and a destination on each of them. In each run there is a failover that is asked for, a primary
that is killed, and one that is killed and started again at once. A run prints a line of figures. The exit code is 1
unless every accepted event arrived at Customer.io in its order (with local durability, but for those that the loss of a
primary lost), and every process lived.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.ha.load import HaPipeline, Load, Sender
from tests.ha.nodes import ClusterSet, Node, SentinelSet
from tests.pipeline import wait_until


def timed(action: Callable[[], None]) -> float:
    """Do something; return how many seconds it took."""
    began = time.monotonic()
    action()
    return time.monotonic() - began


def with_sentinels(redis: SentinelSet, durability: str) -> dict[str, Any]:
    """Run the load through a failover, the loss of a primary and a restart; return the figures."""
    away = {}
    with HaPipeline(redis.url, SEGUE_DURABILITY=durability) as pipeline:
        pipeline.start_other()
        with Load(pipeline) as load:
            load.go_on(pipeline.names)
            away["failover_s"] = redis.fail_over(redis.ask_for_failover)
            wait_until(redis.is_whole, "both replicas follow the new primary")
            load.go_on(pipeline.names)
            lost = redis.primary()
            away["loss_of_primary_s"] = redis.fail_over(Node.kill)
            load.go_on(pipeline.names)
            lost.start()
            wait_until(redis.is_whole, "the lost primary follows the new one")
            away["restart_s"] = timed(redis.primary().restart)
            load.go_on(pipeline.names)
        pipeline.drain()
        return figures(pipeline, load.senders) | {name: round(value, 1) for name, value in away.items()}


def in_cluster(redis: ClusterSet) -> dict[str, Any]:
    """Run the load through the same faults of a cluster, at the primary of another destination each time."""
    away, names = {}, redis.names()
    with HaPipeline(redis.url, names, SEGUE_BROKER_URL=redis.broker_url) as pipeline:
        pipeline.start_other()
        with Load(pipeline) as load:
            load.go_on(names)
            away["failover_s"] = redis.fail_over(names[0], redis.ask_for_failover)
            load.go_on(names)
            lost, before = redis.primary_of(names[1]), load.accepted((names[0], names[2]))
            away["loss_of_primary_s"] = redis.fail_over(names[1], Node.kill)
            others = load.accepted((names[0], names[2])) - before
            load.go_on(names)
            assert lost is not None
            lost.start()
            wait_until(redis.is_whole, "the lost primary follows the new one")
            primary = redis.primary_of(names[2])
            assert primary is not None
            away["restart_s"] = timed(primary.restart)
            load.go_on(names)
        pipeline.drain()
        rounded = {name: round(value, 1) for name, value in away.items()}
        return figures(pipeline, load.senders) | rounded | {"accepted_by_others_meanwhile": others}


def figures(pipeline: HaPipeline, senders: list[Sender]) -> dict[str, Any]:
    """Return what became of the events."""
    names: dict[str, list[int]] = {}
    for person in pipeline.people():
        names[person["id"]] = [int(event["name"]) for event in person["events"]]
    accepted = sum(sender.accepted for sender in senders)
    expected = {f"p{index}": list(range(sender.accepted)) for index, sender in enumerate(senders)}
    found = sum(map(len, names.values()))
    return {
        "accepted": accepted,
        "refused_requests": sum(sender.refused for sender in senders),
        "arrived": found,
        "lost": sum(len(set(numbers) - set(names.get(person, ()))) for person, numbers in expected.items()),
        "out_of_order": sum(found != sorted(found) for found in names.values()),
        "alive": pipeline.alive(),
    }


def is_right(found: dict[str, Any], durability: str) -> bool:
    """Return whether every promise was kept. Without replicated durability, a failover may lose events."""
    kept = not found["lost"] or durability == "local"
    goes_on = found.get("accepted_by_others_meanwhile", 1) > 0
    return bool(found["alive"] and kept and not found["out_of_order"] and found["accepted"] > 0 and goes_on)


def main() -> int:
    """Run everything; return the exit code."""
    right = True
    for durability in ("local", "replicated"):
        with tempfile.TemporaryDirectory(prefix="segue-ha-") as directory, SentinelSet(Path(directory)) as sentinels:
            found = with_sentinels(sentinels, durability)
        right = report("sentinel", durability, found) and right
    with tempfile.TemporaryDirectory(prefix="segue-ha-") as directory, ClusterSet(Path(directory), 3, 1) as cluster:
        found = in_cluster(cluster)
    return 0 if report("cluster", "local", found) and right else 1


def report(redis: str, durability: str, found: dict[str, Any]) -> bool:
    """Print the figures of a run; return whether every promise was kept."""
    sys.stdout.write(f"{json.dumps({'redis': redis, 'durability': durability, **found})}\n")
    sys.stdout.flush()
    return is_right(found, durability)


if __name__ == "__main__":
    sys.exit(main())
