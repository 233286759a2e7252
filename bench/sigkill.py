"""What a SIGKILL of a worker costs: how long the events that it held stand still, and how many operations are repeated.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. Two workers of four threads, a steady load of
PER_S events of PEOPLE people, a service that answers after 20 to 200 ms. KILLS times one of the workers is killed and
started again at once, as a supervisor does. After each kill the load goes on until the lease of a claim has passed and
the backlog is worked off. A kill of a worker without a claim does not count. SEGUE_LEASE_S sets the lease; it is 20 s
by default.

    sigkill.usual_wait     the longest wait of the events before the first kill
    sigkill.longest_wait   the longest wait of any event; the baseline is the lease
    sigkill.delayed        events that waited longer than DELAYED_S, per kill: those of the dead worker's claims that it
                           had not sent, and those that share a key with any of its events
    sigkill.repeated       operations that were sent again, per kill

A wait is the time from the sender to the first arrival at the service.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bench
from bench.support.embedded import pipeline
from settings import Settings
from tests.pipeline import Pipeline, configuration, wait_until

KILLS = int(os.environ.get("KILLS", "3"))
PER_S = int(os.environ.get("PER_S", "500"))
PEOPLE = int(os.environ.get("PEOPLE", "500"))
BATCH = 20
WORKERS = 2
LATENCY_MS = [20, 200]
BEFORE_S = 10.0  # of load before the first kill
AFTER_S = 3.0  # of load after the end of the lease
DELAYED_S = 3.0


def events() -> Iterator[dict[str, Any]]:
    """Yield events without end; `n` numbers them, `sent_at` is the present."""
    for n in itertools.count():
        properties = {"n": n, "sent_at": time.time()}
        yield {"type": "track", "event": "e", "userId": f"user {n * 7919 % PEOPLE}", "properties": properties}


@contextmanager
def load(running: Pipeline) -> Iterator[None]:
    """Send PER_S events a second until the `with` ends."""
    over = threading.Event()

    def send() -> None:
        source, due = events(), time.monotonic()
        while not over.wait(max(0.0, due - time.monotonic())):
            due += BATCH / PER_S
            running.send(itertools.islice(source, BATCH))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def kill_one_with_a_claim(running: Pipeline, lease_s: float) -> None:
    """Kill and replace workers until one had a claim, as its expiry shows."""
    expired = running.stats().reaped_total
    while running.stats().reaped_total == expired:
        wait_until(lambda: running.stats().claims >= WORKERS, "the workers have claims")
        running.kill_worker(0)
        running.start_worker()
        time.sleep(lease_s + AFTER_S)
        wait_until(lambda: running.stats().waiting < PER_S / 2, "the backlog is worked off")


def main() -> None:
    """Kill workers under load and print what the service saw."""
    lease_s = Settings.load().lease_s
    config = configuration(delivery={"requests_per_s": 1000})
    with pipeline(config, workers=WORKERS) as running:
        running.faults(latency_ms=LATENCY_MS)
        with load(running):
            time.sleep(BEFORE_S)
            began_at = time.time()
            for _ in range(KILLS):
                kill_one_with_a_claim(running, lease_s)
        running.drain(deadline_s=2 * lease_s + 60)
        journal = running.journal()
    attributes = [entry["operation"]["attributes"] for entry in journal]
    waits: dict[int, tuple[float, float]] = {}
    for entry, sent in zip(journal, attributes, strict=True):
        waits.setdefault(sent["n"], (sent["sent_at"], entry["arrived_at"] - sent["sent_at"]))
    usual_s = max(wait_s for sent_at, wait_s in waits.values() if sent_at < began_at - DELAYED_S)
    bench.figure("sigkill.usual_wait", usual_s, "s")
    bench.figure("sigkill.longest_wait", max(wait_s for _, wait_s in waits.values()), "s", lease_s)
    bench.figure("sigkill.delayed", sum(wait_s > DELAYED_S for _, wait_s in waits.values()) / KILLS, "events")
    bench.figure("sigkill.repeated", (len(attributes) - len(waits)) / KILLS, "operations")


if __name__ == "__main__":
    main()
