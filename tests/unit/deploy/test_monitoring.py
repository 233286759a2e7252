"""The alerts and the dashboard: what they ask for exists, Prometheus accepts them, and alerts fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser
import pytest
import redis
import yaml
from prometheus_client import CollectorRegistry

from console.exporter.collector import QueueCollector
from ingest.acceptance import Configuration
from metrics import endpoint
from metrics.figures import Histogram
from metrics.registry import REGISTRY
from settings import DEFAULT_DOCUMENT, Settings

RULES = Path("deploy/prometheus/rules.yaml")
RULES_TEST = Path("tests/unit/deploy/rules_test.yaml")
PROMETHEUS = Path("deploy/prometheus/prometheus.yaml")
DASHBOARD: dict[str, Any] = json.loads(Path("deploy/grafana/segue.json").read_text(encoding="utf-8"))
KEDA = Path("deploy/kubernetes/overlays/keda/workers.yaml")
BY_PROMETHEUS = {"instance", "job"}  # labels that it adds to every metric
# Labels whose values are words of ours, all of which a scrape shows from the beginning.
WORDS = {"state", "change", "result", "remark", "fate"}


class Selector(NamedTuple):
    """A metric in an expression, with the labels and values that it must have."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Yield each expression of the files, with a name."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']} {target['refId']}", target["expr"].replace("$__rate_interval", "5m")
    for document in yaml.safe_load_all(KEDA.read_text(encoding="utf-8")):
        for trigger in document["spec"]["triggers"]:
            yield "keda", trigger["metadata"]["query"]


def selectors(expression: str) -> list[Selector]:
    """Return the metrics of an expression; raise ValueError when it is not PromQL."""
    found: list[Selector] = []

    def visit(node: object) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            matchers = tuple((each.name, str(each.op), each.value) for each in node.matchers.matchers)
            found.append(Selector(str(node.name), matchers))

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def label_names(expression: str) -> set[str]:
    """Return the labels by which an expression groups or joins."""
    lists = re.findall(r"\b(?:by|on|group_left)\s*\(([^)]*)\)", expression)
    return {name.strip() for names in lists for name in names.split(",")}


def labels_of_samples() -> dict[str, set[str]]:
    """Return the labels of every sample that there may be: of ours, of Prometheus' library, and of recorded ones."""
    found: dict[str, set[str]] = {rule["record"]: {"destination"} for rule in rules() if "record" in rule}
    for family in endpoint.of_process("metrics").collect():
        found |= {sample.name: set(sample.labels) for sample in family.samples}
    for metric in REGISTRY:
        found[metric.name] = set(metric.labels)
        if metric.kind == "histogram":
            found |= {f"{metric.name}_bucket": {*metric.labels, "le"}, f"{metric.name}_count": set(metric.labels)}
    return found


LABELS = labels_of_samples()


@pytest.mark.parametrize(("name", "expression"), list(expressions()))
def test_every_metric_and_label_of_an_expression_exists(name: str, expression: str) -> None:
    used = selectors(expression)

    assert used, name
    assert [each.metric for each in used if each.metric not in LABELS] == []
    for each in used:
        assert {label for label, _, _ in each.matchers} <= LABELS[each.metric]
    assert label_names(expression) <= BY_PROMETHEUS.union(*(LABELS[each.metric] for each in used))


def test_every_word_that_an_expression_asks_for_is_served(redis_client: redis.Redis) -> None:
    found = CollectorRegistry()
    found.register(QueueCollector(redis_client, Settings(), Configuration.of(DEFAULT_DOCUMENT)))
    values = {
        (sample.name, label, value)
        for metric in found.collect()
        for sample in metric.samples
        for label, value in sample.labels.items()
    }

    asked = {
        (each.metric, label, word)
        for _, expression in expressions()
        for each in selectors(expression)
        for label, operator, value in each.matchers
        if label in WORDS and "Not" not in operator
        for word in value.split("|")
    }

    assert asked
    assert asked - values == set()


def test_a_bound_that_an_expression_asks_for_is_that_of_a_bucket() -> None:
    histograms = [metric for metric in REGISTRY if isinstance(metric, Histogram)]
    bounds = {(f"{metric.name}_bucket", str(float(bound))) for metric in histograms for bound in metric.bounds}
    asked = {
        (each.metric, value)
        for _, expression in expressions()
        for each in selectors(expression)
        for label, _, value in each.matchers
        if label == "le"
    }

    assert asked
    assert asked <= bounds


def test_every_alert_has_a_severity_and_a_remedy() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]

    assert len({rule["alert"] for rule in alerts}) == len(alerts)
    for rule in alerts:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["for"]


def test_the_document_lists_every_alert() -> None:
    text = Path("docs/metrics.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `(Segue\w+)` \| (page|ticket) \|", text, re.MULTILINE)

    assert documented == [(rule["alert"], rule["labels"]["severity"]) for rule in rules() if "alert" in rule]


def test_every_panel_says_what_it_shows() -> None:
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

    assert all(panel["description"].endswith(".") for panel in panels)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize(
    "arguments", [("check", "rules", RULES), ("check", "config", PROMETHEUS), ("test", "rules", RULES_TEST)]
)
def test_promtool_accepts_them(arguments: tuple[str, str, Path]) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed, so the alerts are not tried: install Prometheus")

    result = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr
