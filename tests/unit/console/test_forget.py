"""`segue forget`, `unsuppress` and `receipts` in this process: bad input, the report, a suppression removed."""

from __future__ import annotations

import json

import pytest
import redis
from typer.testing import CliRunner

import lanes
import mapping
from console import cli
from lanes import suppression
from mapping.envelope import pack
from tests.queues import queue_of
from tests.secrets import CREDENTIALS
from tests.unit.console.test_cli import main

pytestmark = pytest.mark.usefixtures("set_up")

runner = CliRunner()
DEMO = mapping.destinations({"destinations": {"demo": CREDENTIALS}})["demo"]


def append(store: redis.Redis, name: str, queue: str = "demo", **event: object) -> None:
    body = {"type": "track", "event": name, "messageId": name, **event}
    entry = lanes.NewEvent(pack("web", body), mapping.ordering_keys(body, DEMO), f"web:{name}")
    lanes.append(queue_of(store, queue), [entry])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["forget"], "name the person: --user-id, --email or --anonymous-id"),
        (["forget", "--user-id", ""], "--user-id: must not be empty"),
        (["forget", "--email", "42"], "--email: must be an address like jo@example.com"),
        (["forget", "--user-id", "1", "--destination", "moon"], 'there is no destination "moon"; there are demo'),
        (["forget", "--user-id", "1", "--delete", "--suppress"], "--delete and --suppress exclude each other"),
        (["forget", "--anonymous-id", "1", "--delete"], "--delete: Customer.io does not know anonymous ids"),
        (["unsuppress"], "name the person: --user-id, --email or --anonymous-id"),
        (["unsuppress", "--anonymous-id", ""], "--anonymous-id: must not be empty"),
        (["receipts", "--destination", "moon"], 'there is no destination "moon"; there are demo'),
    ],
)
def test_bad_input_is_an_error_and_changes_nothing(
    store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
) -> None:
    assert main(arguments, monkeypatch) == 2

    assert capsys.readouterr().err.startswith(f"segue: {text}")
    assert store.keys("*") == []


def test_forget_reports_what_was_erased_and_other_people(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "info", lambda *_: {"aof_enabled": 0})
    append(store, "a", userId="1", anonymousId="v")
    append(store, "b", userId="2")

    first = runner.invoke(cli.app, ["forget", "--user-id", "1"]).stdout
    again = runner.invoke(cli.app, ["forget", "--user-id", "1"]).stdout

    assert "events on the queue: 1 erased" in first
    assert "erased events also named anonymous_id:v; if these are the same person" in first
    assert "nothing to erase" in again
    assert lanes.stats(queue_of(store, "demo")).waiting == 1
    rows = json.loads(runner.invoke(cli.app, ["receipts", "--json"]).stdout)
    assert [(row["request"], row["state"]) for row in rows] == [("erase", "done")] * 2
    assert rows[0]["id"] in again
    assert f"earlier receipts: {rows[1]['id']}" in again
    assert rows[0]["hashes"] == rows[1]["hashes"]
    for width in (40, 80, 160):
        listed = runner.invoke(cli.app, ["receipts"], env={"COLUMNS": str(width)}).stdout
        assert all(len(line) <= width for line in listed.splitlines())
        for row in rows:
            assert f"{row['id']} 20" in " ".join(listed.split())
            assert f"requested by {row['requested_by']}" in " ".join(listed.split())
        assert "demo: erase, done, 2 erased" in " ".join(listed.split())


def test_a_queue_whose_destination_is_not_configured_any_more_is_searched_too(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "info", lambda *_: {"aof_enabled": 0})
    lanes.open_queue(queue_of(store, "old"))
    append(store, "a", queue="old", userId="1")
    append(store, "b", queue="old", userId="2")

    (_, planned) = json.loads(runner.invoke(cli.app, ["forget", "--user-id", "1", "--dry-run", "--json"]).stdout)
    report = runner.invoke(cli.app, ["forget", "--user-id", "1", "--delete", "--destination", "old"]).stdout

    assert (planned["destination"], planned["events"]) == ("old", 1)
    assert "(erase): done" in report, "nothing can be asked of Customer.io"
    assert lanes.stats(queue_of(store, "old")).waiting == 1
    (receipt,) = json.loads(runner.invoke(cli.app, ["receipts", "--json"]).stdout)
    assert (receipt["destination"], receipt["removed"]) == ("old", {"events": 1, "message_ids": 1})


def test_a_suppression_waits_for_workers_and_unsuppress_removes_it(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "info", lambda *_: {"aof_enabled": 0})
    append(store, "a", userId="1")

    ordered = runner.invoke(cli.app, ["forget", "--user-id", "1", "--suppress"]).stdout

    assert "waiting" in ordered
    assert "no worker is running" in ordered
    assert lanes.stats(queue_of(store, "demo")).waiting == 1, "only the request to Customer.io"
    mark = suppression.keyed_hash(suppression.secret(queue_of(store, "demo")), lanes.digest("id:1"))
    assert store.smembers("segue:{demo}:suppressed") == {mark}
    unsuppressed = runner.invoke(cli.app, ["unsuppress", "--user-id", "1"]).stdout
    assert unsuppressed == "demo: 1 identities are no longer suppressed; the request to Customer.io is on the queue\n"
    assert not store.exists("segue:{demo}:suppressed")


def test_a_dry_run_lists_what_would_be_erased_and_erases_nothing(store: redis.Redis) -> None:
    append(store, "a", userId="1", anonymousId="v")

    plan = runner.invoke(cli.app, ["forget", "--user-id", "1", "--dry-run"]).stdout
    (row,) = json.loads(runner.invoke(cli.app, ["forget", "--user-id", "1", "--dry-run", "--json"]).stdout)

    assert "nothing was erased" in plan
    assert "events on the queue: 1" in plan
    assert "not counted here: rows of the ledger" in plan
    assert row == {
        "destination": "demo",
        "followed": [],
        "is_alone": False,
        "events": 1,
        "dead_letters": 0,
        "log": 0,
    }
    assert lanes.stats(queue_of(store, "demo")).waiting == 1
