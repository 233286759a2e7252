"""A scrape of every process of `segue up`: it has the metrics of the registry, these alone, and nothing of a person."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from metrics.registry import REGISTRY
from tests.e2e.conftest import Up, segue
from tests.pipeline import free_port, wait_until

PROCESSES = 3  # a `segue metrics`, an ingest and a worker
COUNTED: tuple[tuple[str, dict[str, str], int], ...] = (
    ("segue_delivery_latency_seconds_count", {}, 2),
    ("segue_events_total", {"fate": "sent"}, 2),
    ("segue_ingest_refusals_total", {"status": "401"}, 1),
)
PERSONAL = ("jo@example.com", "person-of-the-metrics", "Secret Plan")


def scrapes(first_port: int) -> list[str]:
    """Return what each process serves. They take the first free ports from this one on."""
    found = []
    with httpx.Client(trust_env=False) as client:
        for port in range(first_port, first_port + 10):
            with suppress(httpx.HTTPError):
                found.append(client.get(f"http://127.0.0.1:{port}/metrics").text)
    return found


def samples(texts: list[str]) -> list[Sample]:
    families = [family for text in texts for family in text_string_to_metric_families(text)]
    return [sample for family in families for sample in family.samples if sample.name.startswith("segue_")]


def total(found: list[Sample], name: str, **labels: str) -> float:
    return sum(each.value for each in found if each.name == name and labels.items() <= each.labels.items())


def test_every_metric_of_the_registry_is_scraped_and_no_other(tmp_path: Path) -> None:
    port = free_port()
    with Up(tmp_path, SEGUE_METRICS_PORT=str(port), SEGUE_WORKERS="1", SEGUE_REORDER_MS="0") as up:
        email, user_id, name = PERSONAL
        event = {"type": "track", "userId": user_id, "event": name, "context": {"traits": {"email": email}}}
        batch = {"batch": [event, {"type": "identify", "userId": user_id, "traits": {"email": email}}]}
        assert httpx.post(f"{up.ingest_url}/v1/batch", json=batch, auth=("demo", "")).status_code == 200
        assert httpx.post(f"{up.ingest_url}/v1/batch", json=batch, auth=("no-such-key", "")).status_code == 401

        wait_until(lambda: len(scrapes(port)) == PROCESSES, "every process serves metrics")
        for sample, labels, value in COUNTED:
            wait_until(lambda: total(samples(scrapes(port)), sample, **labels) == value, sample)  # noqa: B023
        texts = scrapes(port)
        healthy = segue("health", "metrics", environment=up.environment)

    found = samples(texts)
    described = {sample.name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for sample in found}
    assert described == {metric.name for metric in REGISTRY}
    for metric in REGISTRY:
        labels = {frozenset(each.labels) - {"le"} for each in found if each.name.startswith(metric.name)}
        assert frozenset(metric.labels) in labels
    assert total(found, "segue_ingest_request_duration_seconds_count", status="401") == 1
    assert total(found, "segue_workers") == 1
    assert [personal for personal in PERSONAL if personal in "".join(texts)] == []
    assert (healthy.returncode, healthy.stdout) == (0, "ok\n")
