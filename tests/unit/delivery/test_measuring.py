"""What a request adds to the metrics of a worker."""

from __future__ import annotations

import time

import pytest
from prometheus_client import CollectorRegistry

from delivery.batching import Item, Request
from delivery.outcomes import NOT_SENT, Delivered, Outcome, Paused, Rejected, Response, RetryLater
from delivery.telemetry.measuring import measured
from metrics import registry

REFUSED = Rejected("no such thing", Response(207, ""))


def item(sequence: int) -> Item:
    return Item(sequence, 0, "trackEvent", "event", "/api/v2/entity", b"{}")


def value(sample: str, **labels: str) -> float | None:
    found = CollectorRegistry()
    for metric in registry.COUNTED["worker"]:
        found.register(metric)  # type: ignore[arg-type]
    return found.get_sample_value(sample, labels)


def send(destination: str, *outcomes: Outcome, ages_s: tuple[float, ...]) -> None:
    accepted_at_ms = {number: int((time.time() - age_s) * 1000) for number, age_s in enumerate(ages_s)}
    request = Request("/api/v2/batch", tuple(map(item, accepted_at_ms)))

    assert measured(lambda _: list(outcomes), destination, accepted_at_ms)(request) == list(outcomes)


def test_only_what_was_acknowledged_has_a_latency() -> None:
    send("of-latency", Delivered(), REFUSED, Delivered(), ages_s=(0, 7, 200))

    of = {"destination": "of-latency"}
    assert value("segue_delivery_latency_seconds_count", **of) == 2
    assert value("segue_delivery_latency_seconds_bucket", le="120.0", **of) == 1
    assert value("segue_delivery_latency_seconds_bucket", le="300.0", **of) == 2
    assert value("segue_delivery_request_duration_seconds_count", **of) == 1


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Delivered(), "200"),
        (REFUSED, "207"),
        (RetryLater("HTTP 503", Response(503, "")), "503"),
        (RetryLater("no response", Response(None, "ConnectError")), "none"),
        (Paused("the worker stops", NOT_SENT), "none"),
    ],
)
def test_a_request_is_counted_by_its_status(outcome: Outcome, status: str) -> None:
    destination = f"of-{status}-{type(outcome).__name__}"

    send(destination, Delivered(), outcome, ages_s=(0, 0))

    assert value("segue_delivery_requests_total", destination=destination, status=status) == 1


def test_a_clock_behind_that_of_redis_makes_no_negative_latency() -> None:
    send("ahead", Delivered(), ages_s=(-60,))

    assert value("segue_delivery_latency_seconds_sum", destination="ahead") == 0
