"""`segue diff`: what another configuration makes of the same events, request by request."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import fakeredis
import orjson
import pytest
import redis
from typer.testing import CliRunner, Result

import lanes
from console import cli
from console.errors import CommandError
from mapping.envelope import pack
from mapping.subscription import presets
from series.recent_events import RecentEvents
from tests.queues import queue_of

NO_PRESETS = "".join(f'"{row["name"]}" = false\n' for row in presets())
HEAD = f"""
[sources.web]
write_key = "web"
trust = "server"
destinations = ["journeys"]
[destinations.journeys]
site_id = "s"
api_key = "k"
[destinations.journeys.presets]
{NO_PRESETS}
"""
OLD = f"""{HEAD}
[[destinations.journeys.subscriptions]]
name = "Orders"
action = "trackEvent"
trigger = 'type = "track" and event = "Order Placed"'
[destinations.journeys.subscriptions.mapping]
data = {{ total = {{ "@path" = "$.properties.total" }} }}

[[destinations.journeys.subscriptions]]
name = "Carts"
action = "trackEvent"
trigger = 'type = "track" and event = "Cart Viewed"'

[[destinations.journeys.subscriptions]]
name = "People"
action = "createUpdatePerson"
trigger = 'type = "identify"'
"""
# The total of an order is a text, carts are gone, people have another name, and refunds are new.
NEW = f"""{HEAD}
[[destinations.journeys.subscriptions]]
name = "Orders"
action = "trackEvent"
trigger = 'type = "track" and event = "Order Placed"'
[destinations.journeys.subscriptions.mapping]
data = {{ total = {{ "@template" = "{{{{properties.total}}}} EUR" }} }}

[[destinations.journeys.subscriptions]]
name = "Refunds"
action = "trackEvent"
trigger = 'type = "track" and event = "Refunded"'

[[destinations.journeys.subscriptions]]
name = "Everyone"
action = "createUpdatePerson"
trigger = 'type = "identify"'
"""


def event(name: str, number: int = 1, **members: Any) -> dict[str, Any]:
    common = {"type": "track", "event": name, "userId": f"u{number}", "messageId": f"m-{name}-{number}"}
    return common | {"timestamp": "2026-01-05T10:00:00.000Z"} | members


EVENTS = [
    *(event("Order Placed", number, properties={"total": number}) for number in range(1, 6)),
    event("Cart Viewed"),
    event("Refunded"),
    {"type": "identify", "userId": "u1", "traits": {"plan": "pro"}, "timestamp": "2026-01-05T10:00:00.000Z"},
    event("Unknown"),
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, text in (("old.toml", OLD), ("new.toml", NEW)):
        (tmp_path / name).write_text(text)
    (tmp_path / "events.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in EVENTS))
    return tmp_path


def diff(files: Path, *arguments: str, old: str = "old.toml", new: str = "new.toml") -> Result:
    line = ["diff", str(files / old), str(files / new), *arguments]
    return CliRunner().invoke(cli.app, line, env={"COLUMNS": "200"})


def of_file(files: Path, *arguments: str) -> Result:
    return diff(files, "--events", str(files / "events.jsonl"), *arguments)


def test_case_files_are_events(files: Path) -> None:
    """As `segue test --from-ledger` writes them: one case in a file, over several lines."""
    cases = files / "cases"
    (cases / "inner").mkdir(parents=True)
    written = [{"event": event, "expect": {"fates": {"journeys": "sent"}}} for event in EVENTS]
    (cases / "one.json").write_text(json.dumps(written[0], indent=2))
    (cases / "inner" / "list.json").write_text(json.dumps(written[1:4]))
    (cases / "others.jsonl").write_text("".join(f"{json.dumps(case)}\n" for case in written[4:]))
    (cases / "refused.json").write_text(
        json.dumps({"event": {"type": "x"}, "expect": {"fates": {"journeys": "refused"}}})
    )
    (files / "lines.json").write_text("".join(f"{json.dumps(event)}\n" for event in EVENTS))
    wanted = json.loads(of_file(files, "--json").stdout)["requests"]

    for name in ("cases", "lines.json"):
        found = json.loads(diff(files, "--events", str(files / name), "--json").stdout)
        assert (found["events"], found["requests"]) == (9, wanted)
    assert json.loads(diff(files, "--events", str(cases / "one.json"), "--json").stdout)["events"] == 1


def test_a_directory_or_a_file_that_has_no_events_is_named(files: Path) -> None:
    (files / "empty").mkdir()
    (files / "bad.json").write_text('{"type": "track",\n}')
    (files / "refused.json").write_text('{"type": "x", "event": "Order Placed"}')

    for name, text in (
        ("empty", "empty: has no case files"),
        ("bad.json", "bad.json, line 1: is not JSON"),
        ("refused.json", "refused.json, line 1: ingest refuses the event: type: "),
    ):
        assert text in str(diff(files, "--events", str(files / name)).exception)


@pytest.mark.parametrize(
    ("setting", "sent"),
    [
        ('mode = "shadow"', 0),
        ('cutover_by = "originalTimestamp"\ncutover_at = 2026-01-05T10:00:00Z', 7),
        ('cutover_by = "originalTimestamp"\ncutover_at = 2026-01-05T10:00:01Z', 0),
    ],
)
def test_a_shadow_event_of_one_file_alone_is_not_sent_by_it(files: Path, setting: str, sent: int) -> None:
    shadow = OLD.replace('api_key = "k"', f'api_key = "k"\n{setting}')
    (files / "shadow.toml").write_text(shadow)
    lines = [json.dumps(each | {"originalTimestamp": "2026-01-05T10:00:00.000Z"}) for each in EVENTS]
    (files / "events.jsonl").write_text("\n".join(lines))
    at = "--events", str(files / "events.jsonl")

    for old, new, kind in ("old", "shadow", "no_longer_sent"), ("shadow", "old", "newly_sent"):
        found = json.loads(diff(files, *at, "--json", old=f"{old}.toml", new=f"{new}.toml").stdout)
        assert (found["requests"]["unchanged"], found["requests"][kind]) == (sent, 7 - sent)
    assert diff(files, *at, "--fail-on", "any", old="shadow.toml", new="shadow.toml").exit_code == 0
    if not sent:
        output = diff(files, *at, "--fail-on", "no-longer-sent", new="shadow.toml")
        assert output.exit_code == 1
        assert "no longer sent: 5 requests of Orders: a shadow event" in output.stdout


def test_requests_are_compared_and_grouped(files: Path) -> None:
    found = json.loads(of_file(files, "--json").stdout)

    assert (found["destination"], found["events"]) == ("journeys", 9)
    assert found["requests"] == {
        "unchanged": 1,
        "changed": 5,
        "newly_sent": 1,
        "no_longer_sent": 1,
        "newly_refused": 0,
        "refused_as_before": 0,
    }
    groups = {group["kind"]: group for group in found["differences"]}
    changed = groups["changed"]
    assert (changed["subscription"], changed["fields"], changed["count"]) == ("Orders", ["attributes.total"], 5)
    assert changed["examples"][0] == {
        "message_id": "m-Order Placed-1",
        "changes": [{"field": "attributes.total", "before": 1, "after": "1 EUR"}],
    }
    assert len(changed["examples"]) == 3
    assert (groups["newly_sent"]["subscription"], groups["no_longer_sent"]["subscription"]) == ("Refunds", "Carts")


def test_a_configuration_does_not_differ_from_itself(files: Path) -> None:
    result = diff(files, "--events", str(files / "events.jsonl"), "--fail-on", "any", new="old.toml")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["journeys: 9 events, 7 requests unchanged"]


@pytest.mark.parametrize(
    ("swapped", "kind", "code"),
    [(False, "no-longer-sent", 1), (False, "newly-sent", 0), (True, "newly-sent", 1), (True, "any", 1)],
    ids=["removed", "removed-other", "added", "added-any"],
)
def test_a_destination_of_one_file_alone_is_a_difference(files: Path, swapped: bool, kind: str, code: int) -> None:
    (files / "more.toml").write_text(f'{OLD}\n[destinations.second]\nsite_id = "s2"\napi_key = "k2"\n')
    old, new = ("old.toml", "more.toml") if swapped else ("more.toml", "old.toml")

    result = diff(files, "--events", str(files / "events.jsonl"), "--fail-on", kind, old=old, new=new)

    assert result.exit_code == code
    assert "second: only in " in result.stdout


def test_a_check_of_no_event_is_not_clean(files: Path) -> None:
    (files / "events.jsonl").write_text("\n")

    assert str(of_file(files, "--fail-on", "any").exception).startswith("there is no event to compare")
    assert of_file(files).exit_code == 0


@pytest.mark.parametrize("form", ["mark", "gzip"])
def test_events_are_read_as_exports_write_them(files: Path, form: str) -> None:
    file = files / "events.jsonl"
    lines = file.read_bytes()
    forms = {"mark": b"\xef\xbb\xbf" + lines, "gzip": gzip.compress(lines)}
    file.write_bytes(forms[form])

    assert json.loads(of_file(files, "--json").stdout)["events"] == len(EVENTS)


def test_people_read_what_changes_with_an_example(files: Path) -> None:
    lines = [line.strip() for line in of_file(files).stdout.splitlines()]

    assert lines[0] == "journeys: 9 events, 1 request unchanged"
    assert lines[1:3] == ["changed: 5 requests of Orders", 'attributes.total: 1 → "1 EUR"']
    assert "newly sent: 1 request of Refunds" in lines
    assert "no longer sent: 1 request of Carts" in lines


@pytest.mark.parametrize(
    ("kinds", "code"), [((), 0), (("newly-refused",), 0), (("changed",), 1), (("newly-refused", "no-longer-sent"), 1)]
)
def test_a_kind_of_difference_ends_with_1_on_demand(files: Path, kinds: tuple[str, ...], code: int) -> None:
    assert of_file(files, *(text for kind in kinds for text in ("--fail-on", kind))).exit_code == code


def test_a_mapping_that_refuses_and_a_filter_are_named(files: Path) -> None:
    stricter = OLD.replace('name = "Orders"\naction = "trackEvent"', 'name = "Orders"\naction = "trackPageView"')
    drops = """[[destinations.journeys.filters]]\nif = 'event = "Cart Viewed"'\naction = "drop"\n"""
    (files / "stricter.toml").write_text(stricter + drops)
    result = diff(files, "--events", str(files / "events.jsonl"), "--json", new="stricter.toml")
    groups = {group["kind"]: group for group in json.loads(result.stdout)["differences"]}

    assert groups["no_longer_sent"]["reason"].startswith("filter: ")
    assert (groups["newly_refused"]["subscription"], groups["newly_refused"]["count"]) == ("Orders", 5)
    assert "url" in groups["newly_refused"]["reason"]


def test_recent_events_and_dead_letters_are_compared_without_a_file(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = fakeredis.FakeRedis()
    monkeypatch.setattr(redis.Redis, "from_url", lambda *_, **__: client)
    monkeypatch.setenv("SEGUE_CONFIG", str(files / "old.toml"))
    failure = {"class": "rejected", "message": "no", "faults": [], "buried_at_ms": 1_700_000_000_000}
    buried = lanes.ImportedDeadLetter(None, 1, ("id:u1",), pack("web", EVENTS[0]), orjson.dumps(failure))
    lanes.import_dead_letters(queue_of(client, "journeys"), [buried])

    claimed = lanes.ClaimedEvent(1, 0, 0, 0, 0, (), pack("web", EVENTS[1]))
    RecentEvents().keep(queue_of(client, "journeys"), [claimed])

    found = json.loads(diff(files, "--json").stdout)

    assert (found["events"], found["requests"]["changed"]) == (2, 2)


def test_a_destination_in_one_file_only_is_named(files: Path) -> None:
    (files / "new.toml").write_text(NEW + '[destinations.other]\nsite_id = "s"\napi_key = "k"\n')

    assert of_file(files).stdout.splitlines()[-1].startswith("other: only in ")
    assert isinstance(of_file(files, "--destination", "other").exception, CommandError)
    nowhere = of_file(files, "--destination", "nope").exception
    assert isinstance(nowhere, CommandError)
    assert 'there is no destination "nope" in' in str(nowhere)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"{", "line 1: is not JSON"),
        (b'{"type": "track"}', "line 1: ingest refuses the event: event:"),
        (b"[]", "line 1: ingest refuses the event: the event must be a JSON object"),
    ],
)
def test_a_line_that_is_no_event_is_named(files: Path, line: bytes, text: str) -> None:
    (files / "events.jsonl").write_bytes(line)
    result = of_file(files)

    assert text in str(result.exception)
