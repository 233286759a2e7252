"""`segue import`: Segment's JSON as TOML that has the same results, and what is left out of it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

import mapping
from console.errors import CommandError
from tests.unit.console.importing.responses import compiled, destination, filter_of, run, subscriptions, write


@pytest.fixture(autouse=True)
def _directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_imported_subscriptions_have_the_same_results() -> None:
    rows = subscriptions()
    rows[0]["settings"] = {"id": {"@path": "$.properties.customer_id"}, "custom_attributes": {"note": "{{ not one }}"}}
    rows[1]["enabled"] = False
    old = {"name": rows[0]["name"], "partnerAction": rows[0]["actionSlug"], "subscribe": rows[0]["trigger"]}
    rows = [*rows[:12], old | {"mapping": rows[0]["settings"], "destinationId": "d1"}]

    result = run(write("subscriptions.json", "subscriptions", rows))

    assert result.stderr == ""
    by_name = {each.name: each for each in compiled(result.stdout)["journeys"].subscriptions}
    assert len(by_name) == 13
    for row in rows[2:12]:
        assert by_name[row["name"]].mapping == row["settings"]
        assert by_name[row["name"]].trigger == row["trigger"]
    event = {"type": "identify", "userId": "1", "properties": {"customer_id": "c"}, "traits": {"plan": "pro"}}
    first = next(iter(mapping.translate(event, compiled(result.stdout)["journeys"], 0.0).operations))
    assert first.body["identifiers"] == {"id": "c"}
    assert first.body["attributes"] == {"note": "{{ not one }}"}
    assert not by_name[rows[1]["name"]].enabled
    assert """trigger = 'type = "page"'""" in result.stdout
    assert 'mapping.url = "$.properties.url"' in result.stdout


def test_a_plain_list_of_subscriptions_is_read() -> None:
    Path("list.json").write_text(json.dumps([row | {"destinationId": None} for row in subscriptions()]))

    assert list(compiled(run("list.json", "--destination", "crm").stdout)) == ["crm"]


def test_region_and_filters_come_with_the_subscriptions() -> None:
    filters = [
        filter_of("type = 'track' and properties.test = true", {"type": "DROP"}, title="No tests"),
        filter_of("event = 'Moved'", {"type": "SAMPLE", "percent": 0.25, "path": "$.userId"}),
        filter_of(
            "type = 'identify'",
            {"type": "DROP_PROPERTIES", "fields": {"traits": ["ssn"], "context.device": ["id"]}},
            {"type": "ALLOW_PROPERTIES", "fields": {"traits": ["plan", "ssn"]}},
        ),
    ]
    files = (
        write("filters.json", "filters", filters),
        write("destination.json", "destination", destination()),
        write("subscriptions.json", "subscriptions", subscriptions()),
    )

    result = run(*files, "--destination", "journeys")

    table = tomllib.loads(result.stdout)["destinations"]["journeys"]
    assert (table["region"], table["site_id"]) == ("eu", "${CUSTOMERIO_SITE_ID}")
    assert table["filters"] == [
        {"if": "type = 'track' and properties.test = true", "action": "drop"},
        {"if": "event = 'Moved'", "action": "sample", "rate": 0.25, "by": "userId"},
        {"if": "type = 'identify'", "action": "block", "fields": {"traits": ["ssn"], "context.device": ["id"]}},
        {"if": "type = 'identify'", "action": "allow", "fields": {"traits": ["plan", "ssn"]}},
    ]
    assert "[[destinations.journeys.filters]]  # No tests\n" in result.stdout
    sampled = "filters.json: filters[1].actions[0].percent: Segue keeps the same share of events, but other ones than"
    assert [line.startswith(f"warning: {sampled}") for line in result.stderr.splitlines()] == [True]
    assert f"# warning: {sampled}" in result.stdout
    test_event = {"type": "track", "event": "x", "userId": "u", "properties": {"test": True}}
    assert mapping.translate(test_event, compiled(result.stdout)["journeys"], 0.0).operations == ()


def test_several_destinations_become_several_tables() -> None:
    both = [
        destination("d1", "Customer.io EU"),
        destination("d2", "Customer.io EU"),
        destination("d3", "Amplitude", settings={"apiKey": "k"}),
    ]
    both[1]["settings"]["accountRegion"] = "US 🇺🇸"
    files = (
        write("destinations.json", "destinations", both),
        write("one.json", "subscriptions", subscriptions("d1")),
        write("two.json", "subscriptions", subscriptions("d2")[:1]),
        write("filters.json", "filters", [filter_of("type = 'page'", {"type": "DROP"}, destinationId="d2")]),
    )

    result = run(*files)

    found = compiled(result.stdout)
    assert {name: (each.region, len(each.subscriptions), len(each.filters)) for name, each in found.items()} == {
        "customer-io-eu": ("eu", 15, 0),
        "customer-io-eu-2": ("us", 1, 1),
    }
    assert "${CUSTOMERIO_CUSTOMER_IO_EU_2_SITE_ID}" in result.stdout
    assert result.stderr.startswith('warning: destinations.json: destinations[2] "Amplitude": has no accountRegion')
    assert "there are several destinations" in str(run(*files, "--destination", "journeys").exception)


@pytest.mark.parametrize(
    ("kind", "value", "warning"),
    [
        ("subscriptions", {"modelId": "m1"}, "subscriptions[0].modelId: is of a model of Reverse ETL"),
        ("subscriptions", {"settings": {"speed": 1}}, "subscriptions[0].settings.speed: the action createUpdatePerson"),
        (
            "subscriptions",
            {"trigger": ""},
            "`segue check` refuses destinations.journeys.subscriptions[0].trigger:",
        ),
        ("filters", {"enabled": False}, "filters[0].enabled: is false; Segue has no filter that is switched off"),
        ("filters", {"if": "number(a) = 1"}, "filters[0].actions[0]: if: "),
        ("filters", {"actions": [{"type": "HASH"}]}, "filters[0].actions[0]: action: is 'HASH', but must be one of"),
        (
            "filters",
            {"actions": [{"type": "ALLOW_PROPERTIES", "fields": {"": ["a"], "traits": ["b"]}}]},
            'filters[0].actions[0].fields."": a filter of Segue changes fields of properties, traits, context only',
        ),
        ("filters", {"sourceId": "s2"}, "filters: sourceId: each is of one source, s1, s2; here of all"),
        ("destination", {"enabled": False}, "destination.enabled: is false; give it no source"),
        ("destination", {"settings": {"accountRegion": "Mars"}}, "accountRegion: is Mars, which is no region"),
        ("destination", {"settings": {"accountRegion": "US", "x": 1}}, "destination.settings.x: Segue has no such key"),
    ],
    ids=["model", "field", "trigger", "off", "condition", "action", "root", "sources", "disabled", "region", "setting"],
)
def test_what_is_left_out_has_a_warning_with_the_field_and_the_reason(kind: str, value: Any, warning: str) -> None:
    rows, drop = subscriptions(), filter_of("type = 'page'", {"type": "DROP"})
    files = {"subscriptions": rows, "filters": [dict(drop), drop], "destination": destination()}
    changed = files[kind]
    (changed if isinstance(changed, dict) else changed[0]).update(value)

    result = run(
        *(write(f"{name}.json", name, content) for name, content in files.items()), "--destination", "journeys"
    )

    assert result.exit_code == 0, result.exception
    (line,) = [line for line in result.stderr.splitlines() if warning in line]
    assert f"# {line}" in result.stdout
    assert tomllib.loads(result.stdout)


@pytest.mark.parametrize("kind", ["destination", "filters", "subscriptions"])
def test_a_destination_without_a_subscription_has_a_warning(kind: str) -> None:
    """Its presets are off, so a forgotten file would be a destination that sends nothing."""
    contents = {
        "destination": destination(),
        "filters": [filter_of("type = 'page'", {"type": "DROP"})],
        "subscriptions": [subscriptions()[0] | {"modelId": "m1"}],
    }

    result = run(write("one.json", kind, contents[kind]))

    (line,) = [line for line in result.stderr.splitlines() if "has no subscription here, so it sends nothing" in line]
    assert line.startswith(f"warning: one.json: {kind}")
    assert not any(each.enabled for (found,) in [compiled(result.stdout).values()] for each in found.subscriptions)


def test_further_pages_of_a_response_are_missed() -> None:
    page = {"data": {"subscriptions": subscriptions(), "pagination": {"current": "MA==", "next": "MjA="}}}
    Path("page.json").write_text(json.dumps(page))

    assert run("page.json").stderr == (
        "warning: page.json: pagination.next: the response has more pages; add them as further files\n"
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "the file is not JSON"),
        ("[]", r"bad\.json: has no subscription, so a destination would send nothing"),
        ('{"data": {"subscriptions": []}}', "has no subscription"),
        (b"\xb9".decode("latin-1"), "the file is not JSON"),
        ("[1]", r"subscriptions\[0\]: must be an object"),
        ('{"data": {"filters": {}}}', "filters: must be a list of filters"),
        ('{"data": 1}', "data: must be an object"),
        ('[{"partnerAction": "x", "trigger": "", "settings": {}}]', 'there is no action "x"'),
        ('[{"partnerAction": "trackEvent", "settings": {}}]', "needs trigger or subscribe, a text"),
        ('[{"partnerAction": "trackEvent", "trigger": "x", "settings": {"data": [null]}}]', "null in a list"),
        ('{"filters": [{"if": "x"}]}', r"filters\[0\]: needs actions, a list"),
        ('{"destinations": [{"name": "Amplitude"}]}', "there is no destination of Customer.io"),
        ('{"errors": [{"type": "unauthorized"}]}', "has no destinations, no subscriptions, no filters.*unauthorized"),
        ("{}", r"bad\.json: has no destinations, no subscriptions, no filters"),
        ('{"filter": 5}', "filter: must be an object, not 5"),
        ('{"filters": [{"if": "a = 1", "enabled": "no", "actions": []}]}', r"filters\[0\]\.enabled: must be true or"),
        ('[{"partnerAction": "trackEvent", "trigger": "x", "name": [1], "settings": {}}]', "name: must be a text"),
        (
            '{"destination": {"id": "d", "settings": ["accountRegion"]},'
            ' "subscriptions": [{"partnerAction": "trackEvent", "trigger": "x", "settings": {}}]}',
            "destination.settings: must be an object",
        ),
    ],
)
def test_json_that_cannot_be_imported_is_refused_with_the_reason(text: str, fault: str) -> None:
    Path("bad.json").write_text(text)

    with pytest.raises(CommandError, match=fault):
        raise run("bad.json").exception or AssertionError


def test_a_name_that_is_no_key_is_refused() -> None:
    file = write("subscriptions.json", "subscriptions", subscriptions())

    assert "is not a valid name of a destination" in str(run(file, "--destination", "a b").exception)


def test_responses_of_one_object_are_read_and_an_error_among_files_is_not_passed_over() -> None:
    row, drop = subscriptions()[0], filter_of("type = 'page'", {"type": "DROP"})
    files = [write("one.json", "subscription", row), write("drop.json", "filter", drop)]

    (found,) = compiled(run(*files).stdout).values()
    assert ([each.name for each in found.subscriptions if each.enabled], len(found.filters)) == ([row["name"]], 1)

    Path("error.json").write_text('{"errors": [{"message": "not found"}]}')
    assert "error.json: has no destinations" in str(run(*files, "error.json").exception)


def test_an_object_that_is_in_two_pages_makes_one_table() -> None:
    rows = subscriptions()[:2]
    files = [write("one.json", "subscriptions", rows), write("two.json", "subscriptions", rows[1:])]

    result = run(*files)

    (found,) = compiled(result.stdout).values()
    assert [each.name for each in found.subscriptions if each.enabled] == [row["name"] for row in rows]
    assert result.stderr == "warning: two.json: subscriptions[0]: is one.json: subscriptions[1] once more\n"


def test_a_byte_order_mark_is_no_part_of_a_response() -> None:
    Path("page.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"data": {"subscriptions": subscriptions()}}).encode())

    assert run("page.json").exit_code == 0
