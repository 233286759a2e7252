"""A queue whose destination was renamed: named by `check`, `status` and processes, moved or discarded by commands."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import orjson
import pytest
import redis
from typer.testing import CliRunner, Result

import lanes
from console import cli
from dead_letters import query
from dead_letters.query import Filter
from lanes import fates
from mapping.envelope import pack, unpack
from tests.logged import logged
from tests.queues import queue_of
from workers import runtime

CONFIG = """
[sources.web]
write_key = "key"
trust = "public"
destinations = ["journeys"]
[destinations.journeys]
site_id = "s"
api_key = "k"
"""
FAILURE = {"class": "invalid", "message": "no url", "faults": [], "buried_at_ms": 1_700_000_000_000}
WARNING = (
    "queue old: its destination is not configured, so nothing delivers its 2 events and 1 dead letter; "
    "`segue lanes move old DESTINATION` or `segue lanes discard old`"
)


@pytest.fixture(autouse=True)
def store(store: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> redis.Redis:
    (tmp_path / "segue.toml").write_text(CONFIG)
    monkeypatch.setenv("SEGUE_CONFIG", str(tmp_path / "segue.toml"))
    return store


def track(name: str) -> lanes.NewEvent:
    event = {"type": "track", "event": name, "userId": "42", "messageId": name, "timestamp": "2026-01-05T12:00:00Z"}
    return lanes.NewEvent(pack("web", event), ("id:42",), f"web:{name}", counted_as=fates.name("accepted", "web"))


def fill(client: redis.Redis) -> None:
    """Let the queue `old` have two events of a person and a dead letter."""
    queue = queue_of(client, "old")
    lanes.append(queue, [track("first"), track("second")])
    body = pack("web", {"type": "page", "userId": "42", "messageId": "dead"})
    names = {"counted_as": fates.name("dead", "web", "invalid"), "accepted_as": fates.name("accepted", "web")}
    dead_letter = lanes.ImportedDeadLetter(None, 1, ("id:42",), body, orjson.dumps(FAILURE), **names)
    lanes.import_dead_letters(queue, [dead_letter])


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def error_of(*arguments: str) -> str:
    """Return the text of the expected error."""
    return str(run(*arguments).exception)


def test_check_and_status_name_the_queue_and_its_remedy(store: redis.Redis) -> None:
    assert "warning" not in run("check").stdout

    fill(store)

    assert f"warning: {WARNING}" in run("check").stdout
    assert run("check", "--strict").exit_code == 1
    assert json.loads(run("status", "--json").stdout)["stranded"] == [{"name": "old", "waiting": 2, "dead": 1}]
    assert " ".join(run("status").stdout.split()).startswith(f"warning: {WARNING}")


def test_a_worker_writes_a_line_at_its_start_and_after_a_reload(
    store: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fill(store)
    process = runtime.Runtime.build(runtime.Settings.load(), store, runtime.stopping)

    runtime.write_stranded(process)

    assert logged(caplog) == [{"event": "queue_stranded", "destination": "old", "waiting": 2, "dead_letters": 1}]


def test_move_keeps_the_order_and_the_time_of_acceptance(store: redis.Redis) -> None:
    fill(store)
    accepted_at_ms = lanes.lane_events(queue_of(store, "old"), lanes.digest("id:42"), most=1)[0].accepted_at_ms

    assert run("lanes", "move", "old", "journeys").stdout == "2 events and 1 dead letter moved from old to journeys\n"

    queue = queue_of(store, "journeys")
    bodies = [unpack(event.body) for event in lanes.lane_events(queue, lanes.digest("id:42"), most=9)]
    assert [(body.source, body.event["event"]) for body in bodies] == [("web", "first"), ("web", "second")]
    assert bodies[0].requeued == {"accepted_at_ms": accepted_at_ms}
    assert [dead.event["messageId"] for dead in query.matching(queue, Filter())] == ["dead"]
    assert json.loads(run("status", "--json").stdout)["stranded"] == []
    for name in ("old", "journeys"):
        assert lanes.audit(queue_of(store, name)).balances
        assert not lanes.verify(queue_of(store, name)).violations
    assert json.loads(run("lanes", "move", "old", "journeys", "--json").stdout) == {
        "events": 0,
        "duplicates": 0,
        "dead_letters": 0,
    }


def test_discard_asks_and_discards_everything(store: redis.Redis) -> None:
    fill(store)

    assert "2 events and 1 dead letter of queue old would be discarded" in error_of("lanes", "discard", "old")
    assert run("lanes", "discard", "old", "--yes").stdout == "2 events and 1 dead letter discarded\n"
    assert run("lanes", "discard", "old").stdout == "queue old has no events and no dead letters\n"

    totals = {(count.fate, count.reason) for count in lanes.fate_totals(queue_of(store, "old"))}
    assert ("dropped", "discarded") in totals


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("move", "journeys", "journeys"), "destination journeys is configured, so workers deliver its queue"),
        (("move", "none", "journeys"), 'there is no queue "none"; without a destination there are old'),
        (("move", "old", "none"), 'there is no destination "none"'),
        (("discard", "journeys"), "destination journeys is configured"),
    ],
)
def test_only_a_queue_without_a_destination_is_drained(
    arguments: tuple[str, ...], text: str, store: redis.Redis
) -> None:
    fill(store)

    assert text in error_of("lanes", *arguments)
    assert lanes.stats(queue_of(store, "old")).waiting == 2


def test_a_body_that_cannot_be_read_is_moved_as_it_is(store: redis.Redis) -> None:
    lanes.append(queue_of(store, "old"), [lanes.NewEvent(b"damaged", ("id:42",), "x")])

    assert run("lanes", "move", "old", "journeys").stdout.startswith("1 event and 0 dead letters moved")

    (event,) = lanes.lane_events(queue_of(store, "journeys"), lanes.digest("id:42"), most=9)
    assert event.body == b"damaged"
