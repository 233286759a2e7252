"""A process that claims the events of a queue and has a request in progress; run by `test_lease`.

Arguments: the URL of Redis, the queue, the lease in seconds. It prints the id of its claim. For each line of its input
it checks the lease as before another request, and prints `ours` or `lost`.
"""

from __future__ import annotations

import sys
import time

import redis

import lanes
from tests.queues import queue_of
from workers.lease import LeaseLost, Leases

LONG_S = 600


def main(url: str, name: str, lease_s: float) -> None:
    """Hold the lease until the input ends."""
    queue, leases = queue_of(redis.Redis.from_url(url), name), Leases(lease_s)
    requested_at = time.monotonic()
    claim = lanes.claim(
        queue, lease_ms=leases.lease_ms, max_events=9, max_bytes=10**6, max_depth=9, poll_ms=0, by="holder"
    )
    with leases.open(queue, claim.id, requested_at) as lease:
        lease.ensure(LONG_S)
        print(claim.id, flush=True)  # noqa: T201
        for _ in sys.stdin:
            try:
                lease.ensure(LONG_S)
                print("ours", flush=True)  # noqa: T201
            except LeaseLost:
                print("lost", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
