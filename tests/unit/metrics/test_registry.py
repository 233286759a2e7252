"""The registry of metrics: its names follow Prometheus, the code uses each, and docs/metrics.md lists it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metrics import registry
from metrics.figures import Count, Histogram, Metric
from metrics.registry import REGISTRY

ROOT = Path(__file__).parents[3]
DOCUMENTED = ROOT / "docs" / "metrics.md"
CONSTANTS = {name: value for name, value in vars(registry).items() if isinstance(value, Metric)}


@pytest.mark.parametrize("metric", REGISTRY, ids=lambda metric: metric.name)
def test_a_name_follows_the_conventions(metric: Metric) -> None:
    """https://prometheus.io/docs/practices/naming: a counter ends in `_total`, and nothing else does."""
    assert re.fullmatch(r"segue(_[a-z]+)+", metric.name)
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert metric.kind != "histogram" or metric.name.endswith("_seconds")
    assert metric.meaning.endswith(".")
    assert not {"le", "job", "instance"}.intersection(metric.labels), "Prometheus sets these"


def test_no_two_metrics_have_a_name() -> None:
    """In OpenMetrics, a counter `x_total` and a gauge `x` are one family."""
    families = [metric.name.removesuffix("_total") for metric in REGISTRY]

    assert len(set(families)) == len(REGISTRY)


def test_what_a_process_counts_itself_is_served_by_the_process() -> None:
    counted = {metric.name for metrics in registry.COUNTED.values() for metric in metrics}

    assert counted == {metric.name for metric in REGISTRY if isinstance(metric, Count | Histogram)}
    assert {metric.served_by for metric in REGISTRY if metric.name not in counted} == {"metrics", None}


def test_every_metric_is_used() -> None:
    packages = ("metrics/endpoint.py", "console/exporter/*.py", "delivery/**/*.py", "ingest/**/*.py")
    text = "\n".join(file.read_text(encoding="utf-8") for pattern in packages for file in ROOT.glob(pattern))

    assert [name for name in CONSTANTS if not re.search(rf"\b{name}\b", text)] == []
    assert len(CONSTANTS) == len(REGISTRY)


def test_the_document_lists_every_metric() -> None:
    lines = DOCUMENTED.read_text(encoding="utf-8").splitlines()

    assert [row for row in map(row_of, REGISTRY) if row not in lines] == []
    documented = re.findall(r"^\| `(segue_\w+)` \| (?:counter|gauge|histogram) \|", "\n".join(lines), re.MULTILINE)
    assert sorted(documented) == sorted(metric.name for metric in REGISTRY)


def row_of(metric: Metric) -> str:
    """Return the row of a metric in the table of the document."""
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |"
