"""What a worker counted in memory since it wrote last: responses by class, and events by latency."""

from __future__ import annotations

from collections import Counter

from lanes import Queue, keys
from metrics.registry import DELIVERY_LATENCY, DELIVERY_REQUESTS
from series.row import LATENCIES


class Tally:
    """Adds what the metrics of this process counted to the totals of all workers."""

    def __init__(self) -> None:
        self._written: dict[str, Counter[str]] = {}  # by destination

    def write(self, queue: Queue) -> None:
        """Add what was counted since the last call. Raises redis.RedisError; then the next call adds it."""
        counted = _counted(queue.name)
        added = counted - self._written.get(queue.name, Counter())
        if added:
            with queue.client.pipeline(transaction=True) as pipeline:
                for figure, count in added.items():
                    pipeline.hincrby(keys.COUNTS.of(queue.name), figure, count)
                pipeline.execute()
            self._written[queue.name] = counted


def _counted(destination: str) -> Counter[str]:
    counts = Counter(dict(zip(LATENCIES, DELIVERY_LATENCY.buckets(destination), strict=True)))
    for (name, status), count in DELIVERY_REQUESTS.counts().items():
        if name == destination:
            counts[_class_of(status)] += count
    return counts


def _class_of(status: str) -> str:
    return status if status in ("none", "429") else f"{status[0]}xx"
