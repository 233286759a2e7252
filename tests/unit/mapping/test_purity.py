"""The same event, destination and time always give the same result: mapping reads no clock and no randomness."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import mapping

PACKAGE = Path(mapping.__file__).parent
NOW_S = 1_717_243_200.5  # 2024-06-01T12:00:00.500Z
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter", "gmtime", "localtime", "uuid4"}
EVENT: dict[str, Any] = {"type": "track", "event": "x", "userId": "u", "word": "now"}


def destination(template: str, slug: str = "trackEvent", **fields: Any) -> mapping.Destination:
    """Return a destination with a subscription whose event id or person is the output of the template."""
    field = {"trackEvent": "event_id", "suppressPerson": "person_id", "mergePeople": "primary"}[slug]
    rendered = {"@if": {"exists": {"@path": "$.type"}, "then": {"@liquid": template}}}
    named = {"name": {"@path": "$.event"}, "id": {"@path": "$.userId"}, "secondary": {"@path": "$.userId"}}
    subscription = {
        "subscribe": 'type = "track"',
        "partnerAction": slug,
        "mapping": named | {field: rendered} | fields,
    }
    return mapping.destination_of({"siteId": "s", "apiKey": "k"}, [subscription])


def test_no_module_of_mapping_calls_a_clock() -> None:
    calls = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS)
            or (isinstance(node.func, ast.Name) and node.func.id in CLOCKS)
        )
    ]

    assert calls == []


@pytest.mark.parametrize("source", ["'now'", "'today'", "word"])
def test_the_time_in_a_template_is_the_time_that_translate_is_given(source: str) -> None:
    to = destination(f"{{{{ {source} | date: '%Y-%m-%dT%H:%M:%S.%L' }}}}")

    (operation,) = mapping.translate(EVENT, to, NOW_S).operations

    assert operation.body["id"] == "2024-06-01T12:00:00.500"


def test_the_time_in_a_template_is_the_same_in_explanations_and_in_reference_results() -> None:
    to = destination("{{ 'now' | date: '%Y' }}")

    explained = mapping.explain(EVENT, to, NOW_S).operations[0].body
    single = mapping.event_results(EVENT, to, NOW_S)["requests"][0]["json"]
    batch = mapping.batch_results([EVENT], to, NOW_S)["requests"][0]["json"]["batch"][0]

    assert [body["id"] for body in (explained, single, batch)] == ["2024"] * 3


def test_the_time_in_a_template_is_the_time_that_transform_is_given() -> None:
    template = {"f": {"@liquid": "{{ 'now' | date: '%s' }}"}}

    assert mapping.transform(template, EVENT, 7.0) == {"f": "7"}
    assert mapping.transform_batch(template, [EVENT], 8.0) == [{"f": "8"}]


@pytest.mark.parametrize("slug", ["suppressPerson", "mergePeople"])
def test_templates_in_ordering_keys_see_the_time_of_reception(slug: str) -> None:
    """The keys of a stored event never change, whenever they are computed."""
    to = destination("{{ 'now' | date: '%Y' }}-{{ userId }}", slug)
    received = EVENT | {"receivedAt": "2023-05-01T00:00:00.000Z"}

    info = mapping.ordering_info(received, to)

    assert "id:2023-u" in info.keys
    assert info.join in (None, ("id:u", "id:2023-u"))
    assert "id:1970-u" in mapping.ordering_keys(EVENT, to)


def test_now_and_today_without_quotes_are_members_of_the_event() -> None:
    to = destination("[{{ now }}{% if today %}{{ today.year }}{% endif %}]")

    assert mapping.translate(EVENT, to, NOW_S).operations[0].body["id"] == "[]"
    named = EVENT | {"now": "mine"}
    assert mapping.translate(named, to, NOW_S).operations[0].body["id"] == "[mine]"
