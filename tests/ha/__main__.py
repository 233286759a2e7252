"""`make ha`: failovers and restarts of Redis under load, with four workers and two ingests.

Redis with two replicas and three Sentinels: a failover that is asked for, a primary that is killed, and one that is
killed and started again at once. It runs once for each `SEGUE_DURABILITY` and prints a line of figures. The exit code
is 1 unless every accepted event arrived at Customer.io in its order (of the first run, but for those that the loss of a
primary lost), and every process lived.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from lanes.server.connect import connect
from tests.ha.nodes import Node, SentinelSet
from tests.pipeline import Pipeline, configuration, free_port, wait_until

PEOPLE, BATCH, PAUSE_S = 16, 10, 0.25
DRAINED_S = 120.0


class HaPipeline(Pipeline):
    """A pipeline with a second ingest, on a Redis of any kind."""

    def __init__(self, url: str, **variables: str) -> None:
        super().__init__("redis://127.0.0.1:1/0", workers=4, threads=2, config=configuration(), **variables)
        self.redis_url, self.redis = url, connect(url, socket_timeout=5)
        self.other_url = f"http://127.0.0.1:{free_port()}"

    def start_other(self) -> None:
        """Start the second ingest."""
        self.environment |= {"SEGUE_INGEST_PORT": self.other_url.rpartition(":")[2]}
        self._start("-m", "console.cli", "ingest")
        wait_until(lambda: self._answers(f"{self.other_url}/ready"), "the second ingest is ready")

    def alive(self) -> bool:
        """Whether every worker runs, and both ingests answer."""
        return all(worker.poll() is None for worker in self.workers) and all(
            self._answers(f"{url}/health") for url in (self.ingest_url, self.other_url)
        )


class Sender(threading.Thread):
    """Sends the events of one person in their order, to one ingest after the other, until it is told to stop. A batch
    is repeated until it is accepted."""

    def __init__(self, pipeline: HaPipeline, person: int, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.accepted = self.refused = 0
        self._urls = (pipeline.ingest_url, pipeline.other_url)
        self._person, self._over = f"p{person}", over

    def run(self) -> None:
        """Send until it is over."""
        with httpx.Client(timeout=30, auth=("demo", "")) as http:
            while not self._over.is_set():
                numbers = range(self.accepted, self.accepted + BATCH)
                batch = [self._event(number) for number in numbers]
                while not self._is_accepted(http, batch):
                    self.refused += 1
                    time.sleep(0.05)
                self.accepted += BATCH
                time.sleep(PAUSE_S)

    def _event(self, number: int) -> dict[str, Any]:
        name = f"{self._person}-{number}"
        return {"type": "track", "event": str(number), "userId": self._person, "messageId": name}

    def _is_accepted(self, http: httpx.Client, batch: list[dict[str, Any]]) -> bool:
        url = self._urls[(self.accepted // BATCH + self.refused) % 2]
        try:
            return http.post(f"{url}/v1/batch", json={"batch": batch}).status_code == 200
        except httpx.HTTPError:
            return False


def restart(redis: SentinelSet) -> float:
    """Kill the primary and start it again at once; return for how many seconds it was away."""
    primary, began = redis.primary(), time.monotonic()
    primary.kill()
    primary.start()
    return time.monotonic() - began


def run(redis: SentinelSet, **variables: str) -> dict[str, Any]:
    """Run the load through a failover, the loss of a primary and a restart; return the figures."""
    over, away = threading.Event(), {}
    with HaPipeline(redis.url, **variables) as pipeline:
        pipeline.start_other()
        senders = [Sender(pipeline, person, over) for person in range(PEOPLE)]
        for sender in senders:
            sender.start()
        time.sleep(3)
        away["failover_s"] = redis.fail_over(redis.ask_for_failover)
        wait_until(redis.is_whole, "both replicas follow the new primary")
        time.sleep(3)
        lost = redis.primary()
        away["loss_of_primary_s"] = redis.fail_over(Node.kill)
        time.sleep(3)
        lost.start()
        wait_until(redis.is_whole, "the lost primary follows the new one")
        away["restart_s"] = restart(redis)
        time.sleep(3)
        over.set()
        for sender in senders:
            sender.join()
        pipeline.drain(DRAINED_S)
        return figures(pipeline, senders) | {name: round(value, 1) for name, value in away.items()}


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
    return bool(found["alive"] and kept and not found["out_of_order"] and found["accepted"] > 0)


def main() -> int:
    """Run everything; return the exit code."""
    right = True
    for durability in ("local", "replicated"):
        with tempfile.TemporaryDirectory(prefix="segue-ha-") as directory, SentinelSet(Path(directory)) as redis:
            found = run(redis, SEGUE_DURABILITY=durability)
        sys.stdout.write(f"{json.dumps({'redis': 'sentinel', 'durability': durability, **found})}\n")
        right = right and is_right(found, durability)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
