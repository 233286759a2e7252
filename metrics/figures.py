"""A metric: its name, labels and meaning; and those that a process counts itself, in memory.

A process counts for each request, never for each event: one call takes the values of all events of a request.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

Kind = Literal["counter", "gauge", "histogram"]
Role = Literal["metrics", "ingest", "worker"]
Labels = tuple[str, ...]

_INFINITY: Final = "+Inf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric. `meaning` is one sentence, `served_by` the role of the processes that serve it; None: all."""

    name: str
    kind: Kind
    labels: Labels
    meaning: str
    served_by: Role | None

    def family(self, samples: Iterable[tuple[Labels, float]]) -> Family:
        """Return a gauge or a counter with these values, by the values of the labels."""
        kind = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = kind(self.name, self.meaning, labels=self.labels)
        for labels, value in samples:
            family.add_metric(labels, value)
        return family


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Count(Metric):
    """A counter of this process. Threads may share it."""

    kind: Kind = "counter"
    _counts: Counter[Labels] = field(default_factory=Counter, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def add(self, *labels: str) -> None:
        """Count one more with these values of the labels."""
        with self._lock:
            self._counts[labels] += 1

    def counts(self) -> dict[Labels, int]:
        """Return the counts by the values of the labels."""
        with self._lock:
            return dict(self._counts)

    def collect(self) -> Iterator[Family]:
        """Yield the counter, as prometheus_client reads it."""
        yield self.family(self.counts().items())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram(Metric):
    """A histogram of this process. Threads may share it. `bounds` are the upper bounds of its buckets, rising."""

    bounds: Sequence[float]
    kind: Kind = "histogram"
    # By the values of the labels: the values of each bucket, the last one without a bound; and the sum of all values.
    _counts: dict[Labels, tuple[list[int], list[float]]] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def add(self, values: list[float], *labels: str) -> None:
        """Add the values, those of one request, with these values of the labels. It sorts the list.

        Its cost is that of two searches for each bucket that has values, however many these are.
        """
        values.sort()
        bounds, begin = self.bounds, 0
        with self._lock:
            counts, total = self._counts.setdefault(labels, ([0] * (len(bounds) + 1), [0.0]))
            while begin < len(values):
                bucket = bisect_left(bounds, values[begin])
                end = bisect_right(values, bounds[bucket], begin) if bucket < len(bounds) else len(values)
                counts[bucket] += end - begin
                begin = end
            total[0] += sum(values)

    def buckets(self, *labels: str) -> list[int]:
        """Return how many values each bucket has, the last one without a bound."""
        with self._lock:
            counts, _ = self._counts.get(labels, ([0] * (len(self.bounds) + 1), []))
            return list(counts)

    def collect(self) -> Iterator[Family]:
        """Yield the histogram, as prometheus_client reads it."""
        with self._lock:
            found = [(labels, list(counts), total[0]) for labels, (counts, total) in self._counts.items()]
        family = HistogramMetricFamily(self.name, self.meaning, labels=self.labels)
        names = [*(str(float(bound)) for bound in self.bounds), _INFINITY]
        for labels, counts, total in found:
            family.add_metric(labels, list(zip(names, accumulate(counts), strict=True)), total)
        yield family
