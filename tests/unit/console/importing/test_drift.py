"""`segue import --check-drift`: what differs between a configuration and Segment's JSON, read again later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console.errors import CommandError
from tests.unit.console.importing.responses import destination, filter_of, run, subscriptions, write

Json = dict[str, Any]


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Json:
    """Import a destination to `segue.toml`; return the contents of the responses."""
    monkeypatch.chdir(tmp_path)
    for name in ("SITE_ID", "API_KEY"):
        monkeypatch.setenv(f"CUSTOMERIO_{name}", "x")
    rows = subscriptions()
    rows[1]["enabled"] = False
    filters = [
        filter_of("type = 'track'", {"type": "DROP_PROPERTIES", "fields": {"properties": ["a", "b"]}}),
        filter_of("event = 'Moved'", {"type": "SAMPLE", "percent": 0.5}),
    ]
    state = {"subscriptions": rows, "filters": filters, "destination": destination()}
    Path("segue.toml").write_text(run(*written(state), "--destination", "journeys").stdout, encoding="utf-8")
    return state


def written(state: Json) -> list[str]:
    return [write(f"{kind}.json", kind, value) for kind, value in state.items()]


def check(state: Json, *arguments: str) -> tuple[int, list[str]]:
    result = run(*written(state), "--check-drift", "segue.toml", *arguments)
    return result.exit_code, result.stdout.splitlines()


def test_an_import_does_not_drift(state: Json) -> None:
    assert check(state) == (0, ["no drift: 15 subscriptions and 2 filters are as at Segment"])


def test_the_order_and_the_spelling_of_equal_settings_are_no_drift(state: Json) -> None:
    state["filters"][0]["actions"][0]["fields"]["properties"].reverse()
    state["filters"][1]["if"] = "event   = 'Moved'"
    state["filters"].reverse()
    state["subscriptions"].reverse()
    state["subscriptions"][-1]["settings"]["relationships"] = None

    assert check(state)[0] == 0


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda state: state["subscriptions"][0].update(trigger='type = "track"'),
            'subscription "Create or Update Person": trigger: is "type = \\"identify\\"" here and "type = \\"track\\""',
        ),
        (
            lambda state: state["subscriptions"][7]["settings"].update(url={"@path": "$.context.page.url"}),
            'subscription "Track Page View": mapping.url: is {"@path":"$.properties.url"} here and {"@path":"$.context',
        ),
        (
            lambda state: state["subscriptions"][7]["settings"].pop("timestamp"),
            'subscription "Track Page View": mapping.timestamp: is {"@path":"$.timestamp"} here and nothing at Segment',
        ),
        (
            lambda state: state["subscriptions"][0].update(enabled=False),
            'subscription "Create or Update Person": enabled: is true here and false at Segment',
        ),
        (
            lambda state: state["subscriptions"][0].update(actionSlug="trackEvent"),
            'subscription "Create or Update Person": action: is "createUpdatePerson" here and "trackEvent" at Segment',
        ),
        (
            lambda state: state["subscriptions"].append(state["subscriptions"][7] | {"name": "New"}),
            'subscription "New": is missing here',
        ),
        (lambda state: state["subscriptions"].pop(), 'subscription "Report Content Event": is not at Segment'),
        (
            lambda state: state["destination"]["settings"].update(accountRegion="US 🇺🇸"),
            'region: is "eu" here and "us" at Segment',
        ),
        (
            lambda state: state["filters"].append(filter_of("type = 'page'", {"type": "DROP"})),
            "filter drop if type = 'page': is missing here",
        ),
        (lambda state: state["filters"].pop(0), "filter block if type = 'track': is not at Segment"),
        (
            lambda state: state["filters"][1]["actions"][0].update(percent=0.75),
            "filter sample if event = 'Moved': rate: is 0.5 here and 0.75 at Segment",
        ),
        (
            lambda state: state["filters"][0]["actions"][0]["fields"]["properties"].append("c"),
            'filter block if type = \'track\': fields.properties: is ["a","b"] here and ["a","b","c"] at Segment',
        ),
    ],
    ids=[
        *("trigger", "mapping", "unmapped", "enabled", "action", "new", "gone", "region"),
        *("filter", "no-filter", "rate", "fields"),
    ],
)
def test_a_change_at_segment_is_one_line_and_the_exit_code(
    state: Json, change: Callable[[Json], Any], line: str
) -> None:
    change(state)
    code, lines = check(state)

    assert code == 1
    # Another action has other fields, so its mapping differs too.
    assert lines[0].startswith(f"journeys: {line}")
    assert len(lines) == 1 or "action: " in line


def test_a_disabled_subscription_of_one_side_sends_nothing_and_is_no_drift(state: Json) -> None:
    del state["subscriptions"][1]
    state["subscriptions"].append(state["subscriptions"][0] | {"name": "Paused", "enabled": False})

    assert check(state)[0] == 0


def test_the_only_destination_of_both_is_compared_whatever_its_name(state: Json) -> None:
    state["destination"]["name"] = "Another"

    assert check(state)[0] == 0
    assert check(state, "--destination", "journeys")[0] == 0


def test_a_destination_that_the_configuration_lacks_is_named(state: Json) -> None:
    result = run(*written(state), "--check-drift", "segue.toml", "--destination", "other")

    assert isinstance(result.exception, CommandError)
    assert str(result.exception) == 'there is no destination "other" in the configuration; there are journeys'
