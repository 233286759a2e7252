"""What a process counts: counters and histograms, from several threads."""

from __future__ import annotations

from threading import Thread

import pytest
from prometheus_client import CollectorRegistry

from metrics.figures import Count, Histogram


def value(metric: Count | Histogram, sample: str, **labels: str) -> float | None:
    found = CollectorRegistry()
    found.register(metric)  # type: ignore[arg-type]
    return found.get_sample_value(sample, labels)


def histogram() -> Histogram:
    return Histogram(name="t_seconds", labels=("destination",), meaning="T.", served_by="worker", bounds=(0.1, 1, 10))


def test_a_value_is_in_the_first_bucket_whose_bound_it_does_not_exceed() -> None:
    metric = histogram()

    metric.add([0.1, 0.11, 1.0, 10.5], "a")
    metric.add([0.05], "a")
    metric.add([3], "b")

    counts = [value(metric, "t_seconds_bucket", destination="a", le=le) for le in ("0.1", "1.0", "10.0", "+Inf")]
    assert counts == [2, 4, 4, 5]
    assert value(metric, "t_seconds_count", destination="a") == 5
    assert value(metric, "t_seconds_sum", destination="a") == pytest.approx(11.76)
    assert value(metric, "t_seconds_count", destination="b") == 1


def test_a_call_without_values_shows_the_labels() -> None:
    metric = histogram()

    metric.add([], "a")

    assert value(metric, "t_seconds_count", destination="a") == 0


def test_threads_lose_no_count() -> None:
    latency, count = histogram(), Count(name="t_total", labels=("status",), meaning="T.", served_by="worker")

    def work() -> None:
        for _ in range(2_000):
            latency.add([0.5, 5], "a")
            count.add("200")

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert value(latency, "t_seconds_count", destination="a") == 16_000
    assert value(count, "t_total", status="200") == 8_000
