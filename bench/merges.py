"""What thousands of merges into one person, and hundreds of ids with one address, cost the people that they name.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`:

    merges.next_event     s until the next event of each merged person was delivered; baseline: the bound for it
    merges.afterwards     s for 500 events of 50 of these people; baseline: before the merges
    addresses.next_event  the same for ids that claim one address
    addresses.afterwards

One request has MERGES aliases into one id, or CLAIMS identifies with one address. The next events follow in another
request. The bound is twice SEGUE_SETTLE_S and 5 s. Two workers of four threads, a service that answers after 100 ms.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import bench
from bench.support import embedded
from tests.pipeline import Pipeline, configuration, wait_until

MERGES = int(os.environ.get("MERGES", "2500"))
CLAIMS = int(os.environ.get("CLAIMS", "500"))
SETTLE_S = float(os.environ.get("SEGUE_SETTLE_S", "5"))
LATENCY_MS = 100
EVENTS, PEOPLE = 500, 50
DEADLINE_S = 600.0

Event = dict[str, Any]


def elapsed_s(pipeline: Pipeline, events: Sequence[Event]) -> float:
    """Send the events in one request, and return the seconds until nothing waits."""
    began_at = time.monotonic()
    pipeline.http.post(f"{pipeline.ingest_url}/v1/batch", auth=("demo", ""), json={"batch": events}).raise_for_status()
    wait_until(lambda: pipeline.stats().waiting == 0, "all events are delivered", DEADLINE_S)
    return time.monotonic() - began_at


def acts(names: Sequence[str], count: int) -> list[Event]:
    """Return so many events of these people in turn."""
    return [{"type": "track", "event": "Viewed", "userId": names[number % len(names)]} for number in range(count)]


def measure(name: str, people: Sequence[str], claims: Sequence[Event]) -> None:
    """Print the figures of events that connect these people."""
    with embedded.pipeline(configuration(delivery={"requests_per_s": 10_000}), workers=2) as pipeline:
        pipeline.faults(latency_ms=[LATENCY_MS, LATENCY_MS])
        elapsed_s(pipeline, acts(people[:PEOPLE], EVENTS))
        before_s = elapsed_s(pipeline, acts(people[:PEOPLE], EVENTS))
        time.sleep(SETTLE_S)
        request = {"batch": list(claims)}
        pipeline.http.post(f"{pipeline.ingest_url}/v1/batch", auth=("demo", ""), json=request).raise_for_status()
        bench.figure(f"{name}.next_event", elapsed_s(pipeline, acts(people, len(people))), "s", 2 * SETTLE_S + 5)
        bench.figure(f"{name}.afterwards", elapsed_s(pipeline, acts(people[:PEOPLE], EVENTS)), "s", before_s)


def main() -> None:
    """Measure merges, then addresses."""
    leads = [f"lead-{number}" for number in range(MERGES)]
    merges = [{"type": "alias", "previousId": lead, "userId": "jo"} for lead in leads]
    measure("merges", leads, merges)
    ids = [f"id-{number}" for number in range(CLAIMS)]
    traits = {"email": "shared@example.com"}
    measure("addresses", ids, [{"type": "identify", "userId": each, "traits": traits} for each in ids])


if __name__ == "__main__":
    main()
