"""`make chaos`: injects faults for some minutes, then compares every person with what must have come out.

Real processes on loopback: Redis with its append-only file, ingest, three workers, and a simulated Customer.io that
answers with faults and applies late. Workers and ingest are killed. Redis is killed and started again. The connections
to Redis and to Customer.io are interrupted. Events wait for earlier ones. `SEED`, `EVENTS`, `MINUTES`, `APPLY`
(in_order, shuffled), `ORDER` (acknowledged, applied), `SETTLE_S` and `REORDER_MS` come from the environment. Prints one
JSON line of figures (see `judge`); exit code 1 when a guarantee was broken.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

import lanes
from console import audit
from console.demo.run import differences, oracle, read_person, sample
from tests.chaos.proxy import Proxy
from tests.chaos.stage import Stage
from tests.queues import queue_in

BATCH = 40
LAG_SCALE = 0.05  # a lag of a minute at Customer.io is one of three seconds here


@dataclass(frozen=True)
class Plan:
    """The parameters of a run, from the environment."""

    seed: int = int(os.environ.get("SEED", "1"))
    events: int = int(os.environ.get("EVENTS", "20000"))
    minutes: float = float(os.environ.get("MINUTES", "3"))
    apply: str = os.environ.get("APPLY", "in_order")
    order: str = os.environ.get("ORDER", "acknowledged")
    settle_s: float = float(os.environ.get("SETTLE_S", "4"))
    reorder_ms: int = int(os.environ.get("REORDER_MS", "300"))

    @property
    def may_be_disordered(self) -> bool:
        """Whether Customer.io may apply a person's operations in another order than they were sent."""
        return self.apply == "shuffled" and self.order == "acknowledged"

    @property
    def faults(self) -> dict[str, Any]:
        """The body of `/_sim/faults`."""
        return {
            "seed": self.seed,
            "latency_ms": [20, 300],
            "status_429": 0.01,
            "retry_after_s": 0.5,
            "status_500": 0.02,
            "status_503": 0.02,
            "reset_before": 0.01,
            "reset_after": 0.02,
            "timeout_before": 0.003,
            "timeout_after": 0.003,
            "timeout_s": 8.0,  # longer than the lease, after which a request times out
            "slow_loris": 0.01,
            "duplicate": 0.01,
            "apply": self.apply,
            "lag_ms": [0, 2000],
            "lag_tail": 0.05,
            "lag_tail_ms": 60_000,
            "lag_scale": LAG_SCALE,
        }


@dataclass
class FaultInjection:
    """Kills, restarts and interruptions at random times, and how many of each were made (`done`)."""

    stage: Stage
    proxies: dict[str, Proxy]
    random: random.Random
    over: threading.Event = field(default_factory=threading.Event)
    done: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("kills", "redis_restarts", "cuts"), 0))

    def run(self, redis_restarts_at: list[float]) -> None:
        """Inject faults until `over` is set; Redis is killed at the given monotonic times."""
        while not self.over.wait(self.random.uniform(2, 5)):
            if redis_restarts_at and time.monotonic() > redis_restarts_at[0]:
                redis_restarts_at.pop(0)
                self.stage.kill("redis")
                self.done["redis_restarts"] += 1
            elif self.random.random() < 0.25:
                proxy = self.proxies[self.random.choice(sorted(self.proxies))]
                proxy.disconnect()
                self.over.wait(self.random.uniform(0.2, 1.5))
                proxy.restore()
                self.done["cuts"] += 1
            else:
                self.stage.kill(self.random.choice(["worker-1", "worker-2", "worker-3", "ingest"]))
                self.done["kills"] += 1


def main() -> int:
    """Run with the plan of the environment; return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left running
    plan = Plan()
    events = sample.events(plan.events, plan.seed)
    with (
        tempfile.TemporaryDirectory(prefix="segue-chaos-") as directory,
        Stage(Path(directory)) as stage,
        Proxy(stage.redis_port) as to_redis,
        Proxy(stage.simulator_port) as to_customerio,
    ):
        stage.start(
            f"redis://127.0.0.1:{to_redis.port}/0",
            f"http://127.0.0.1:{to_customerio.port}",
            order=plan.order,
            settle_s=plan.settle_s,
            reorder_ms=plan.reorder_ms,
        )
        stage.simulator.post("/_sim/faults", json=plan.faults).raise_for_status()
        proxies = {"redis": to_redis, "customerio": to_customerio}
        injection = FaultInjection(stage, proxies, random.Random(plan.seed))
        started_at = time.monotonic()
        restarts_at = [started_at + plan.minutes * 60 * share for share in (0.25, 0.5, 0.75)]
        injecting = threading.Thread(target=injection.run, args=(restarts_at,))
        injecting.start()
        try:
            send(events, stage, started_at, plan.minutes * 60)
        finally:
            injection.over.set()
            injecting.join()
        stage.settle_down()
        figures = judge(events, stage, plan) | injection.done
    figures |= {"seed": plan.seed, "apply": plan.apply, "order": plan.order, "settle_s": plan.settle_s}
    figures["reorder_ms"] = plan.reorder_ms
    figures["seconds"] = round(time.monotonic() - started_at, 1)
    print(json.dumps(figures))
    return 0 if is_right(figures, plan) else 1


def send(events: list[sample.Event], stage: Stage, started_at: float, seconds: float) -> None:
    """Send all events in their order, evenly over the time; repeat each request until it is accepted.

    An event happens just before its request is sent for the first time, and after all events before it.
    """
    happened_ms = 0
    for first in range(0, len(events), BATCH):
        due = started_at + seconds * first / len(events)
        while (left := due - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
        happened_ms = max(happened_ms, int(time.time() * 1000) - BATCH)
        batch = dated(events[first : first + BATCH], happened_ms + 1)
        happened_ms += len(batch)
        until = time.monotonic() + 120
        while not is_accepted(stage, batch):
            if time.monotonic() > until:
                raise SystemExit("ingest has accepted nothing for two minutes")
            time.sleep(0.05)


def dated(events: list[sample.Event], first_ms: int) -> list[sample.Event]:
    """Return the events with the times at which they happen: the first at this Unix time, each 1 ms after the other.

    The properties have the time too, as Customer.io's own is in seconds.
    """
    return [_dated(event, happened_ms) for happened_ms, event in enumerate(events, first_ms)]


def _dated(event: sample.Event, happened_ms: int) -> sample.Event:
    timestamp = datetime.fromtimestamp(happened_ms / 1000, UTC).isoformat(timespec="milliseconds")
    own = {"properties": event["properties"] | {"happened_ms": happened_ms}} if "properties" in event else {}
    return event | {"timestamp": timestamp} | own


def is_accepted(stage: Stage, batch: list[sample.Event]) -> bool:
    """Send a request; return whether it was accepted. Ends the run when it is refused for good."""
    try:
        response = stage.ingest.post("/v1/batch", json={"batch": batch})
    except httpx.HTTPError:
        return False
    if 400 <= response.status_code < 500 and response.status_code != httpx.codes.TOO_MANY_REQUESTS:
        raise SystemExit(f"ingest refused a batch: {response.text}")
    return response.is_success


def judge(events: list[sample.Event], stage: Stage, plan: Plan) -> dict[str, Any]:
    """Return the figures of the run; print the differences of people from the oracle, and violations in the queue.

    Where Customer.io may apply operations in another order, the events of a person are compared by their times.
    """
    queue = queue_in(stage.store, "demo")
    stats = lanes.stats(queue)
    violations = lanes.verify(queue).violations
    for violation in violations[:10]:
        print(f"{violation.subject}: {violation.text}", file=sys.stderr)
    audited = audit.gather(queue)
    for line in audit.render(audited):
        print(line, file=sys.stderr)
    seen = stage.simulator.get("/_sim/stats").json()
    people = stage.simulator.get("/_sim/people").json()["people"]
    for person in people if plan.may_be_disordered else ():
        person["events"].sort(key=times)
    found = [read_person(person) for person in people]
    wrong = list(differences(oracle.people(events), found))
    for line in wrong[:10]:
        print(line, file=sys.stderr)
    return {
        "sent": len(events),
        "accepted": stats.accepted_total,
        "delivered": stats.delivered_total,
        "unsent": stats.unsent_total,
        "buried": stats.buried_total,
        "lost": len(events) - stats.delivered_total - stats.unsent_total - stats.buried_total,
        "requests": sum(seen["requests"].values()),
        "operations": seen["operations"],
        "reordered": stats.reordered_total,
        "applied_twice": seen["applied_twice"],
        "order_violations": seen["order_violations"],
        "stale_attribute_won": seen["stale_attribute_won"],
        "merge_without_primary": seen["merge_without_primary"],
        "recreated": seen["recreated"],
        "people": len(found),
        "people_differ": len(wrong),
        "reaped": stats.reaped_total,
        "violations": len(violations),
        "unaccounted": 0 if audited["balanced"] else max(audited["lost"], 1),
    }


def times(event: dict[str, Any]) -> tuple[float, int]:
    """Return the times by which the events of a person are compared."""
    return event["timestamp"], event["attributes"]["happened_ms"]


def is_right(figures: dict[str, Any], plan: Plan) -> bool:
    """Return whether every guarantee was kept."""
    zero = [
        "lost",
        "buried",
        "applied_twice",
        "stale_attribute_won",
        "people_differ",
        "merge_without_primary",
        "violations",
        "unaccounted",
    ]
    if not plan.may_be_disordered:
        # Otherwise an event after a deletion may be applied before the update that creates the person again.
        zero += ["order_violations", "recreated"]
    return figures["accepted"] == figures["sent"] and not any(figures[name] for name in zero)


if __name__ == "__main__":
    sys.exit(main())
