"""`segue people`, `segue events`, `segue ledger query`, `segue lanes show`: from files, and from what Redis keeps."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from typer.testing import CliRunner, Result

import lanes
import settings
from console import cli
from console.errors import CommandError
from console.ledger.commands import OUTCOMES
from delivery.batching import Item, Request
from delivery.log import Recorder
from delivery.outcomes import Delivered, Outcome, Rejected, Response, RetryLater
from delivery.recording import ledger
from ledger import writing
from ledger.rows import table_of
from mapping.operation import BATCH_PATH
from tests.conftest import RedisServer
from tests.ledgers import NOON_MS, QUEUE, files_in, no_check, record
from tests.queues import queue_of


@pytest.fixture
def recorded(
    redis_server: RedisServer,
    redis_client: redis.Redis,
    tmp_path: Path,
    location: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A ledger with one request of Jo and Al, and another one that is not written yet."""
    file = tmp_path / "segue.toml"
    file.write_text(f'[destinations.{QUEUE}]\nsite_id = "s"\napi_key = "k"\n')
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    monkeypatch.setenv("SEGUE_CONFIG", str(file))
    monkeypatch.setenv("SEGUE_LEDGER_DIR", location)
    monkeypatch.setenv("SEGUE_SETTLE_S", "0")  # that of the queue
    monkeypatch.setenv("COLUMNS", "200")
    record(redis_client, "a", ["jo", "al"], [Delivered(), Rejected("no such person", Response(207, ""))])
    queue = queue_of(redis_client, QUEUE)
    ledger.report_seen(queue)
    writing.write_batch(files_in(location), queue, no_check, contents=True)
    record(redis_client, "b", ["jo"], start=3)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)


def rows(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments, "--json").stdout.splitlines()]


@pytest.mark.usefixtures("recorded")
def test_a_person_has_the_requests_of_both_places_once() -> None:
    assert [row["message_id"] for row in rows("people", "show", "id:jo")] == ["b-0", "a-0"]
    head, *lines = run("people", "show", "id:jo").stdout.splitlines()
    assert head.startswith(f"{QUEUE}: 2 rows of id:jo; the ledger begins at ")
    assert lines[1].endswith('{"identifiers":{"id":"jo"},"name":"a-0"}')
    assert "delivered: #3 web:b-0" in lines[2]
    assert [row["message_id"] for row in rows("people", "show", "id:jo", "--most", "1")] == ["b-0"]


@pytest.mark.usefixtures("recorded")
def test_an_event_is_found_by_its_message_id() -> None:
    (row,) = rows("events", "show", "a-1")
    assert (row["destination"], row["outcome"], row["reason"]) == (QUEUE, "rejected", "no such person")
    assert rows("events", "show", "web:b-0")[0]["sequence"] == 3
    unknown = run("events", "show", "none")
    assert (unknown.exit_code, "no event with this message id is known" in unknown.stderr) == (1, True)


@pytest.mark.usefixtures("recorded")
def test_a_query_has_conditions() -> None:
    assert [row["message_id"] for row in rows("ledger", "query", "--outcome", "rejected")] == ["a-1"]
    assert [row["message_id"] for row in rows("ledger", "query", "--text", "NO SUCH", "--since", "1h")] == ["a-1"]
    assert rows("ledger", "query", "--until", "1h") == []
    (row,) = rows("ledger", "query", "--person", "id:al")
    assert [found["message_id"] for found in rows("ledger", "query", "--request-id", row["id"])] == ["a-1", "a-0"]


@pytest.mark.usefixtures("recorded")
def test_lanes_show_reads_the_ledger() -> None:
    (lane,) = json.loads(run("lanes", "show", "id:jo", "--json").stdout)

    assert [(sent["message_id"], sent["item"]["name"]) for sent in lane["sent"]] == [
        ("web:b-0", "b-0"),
        ("web:a-0", "a-0"),
    ]
    assert "web:a-0" in run("lanes", "show", "id:jo").stdout


@pytest.mark.usefixtures("recorded")
def test_a_ledger_elsewhere_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_LEDGER_DIR", str(tmp_path / "other"))

    assert "the ledger may be elsewhere" in run("people", "show", "id:jo").stdout
    assert [row["message_id"] for row in rows("people", "show", "id:jo")] == ["b-0"]


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("location", ["directory"], indirect=True)
@pytest.mark.parametrize("command", [["ledger"], ["people", "show", "id:jo"]])
def test_a_fault_of_the_url_is_told(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("SEGUE_LEDGER_DIR", "s3://ledgers/x?foo=1")

    with pytest.raises(CommandError, match=r"SEGUE_LEDGER_DIR: .* parameter in S3 URI: 'foo'"):
        run(*command)


@pytest.mark.usefixtures("recorded", "object_store")
@pytest.mark.parametrize("location", ["directory"], indirect=True)
def test_an_object_store_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SEGUE_LEDGER_DIR", "s3://ledgers/away")

    with pytest.raises(CommandError, match=r"the ledger in s3://ledgers/away cannot be read: .*NETWORK_CONNECTION"):
        run("people", "show", "id:jo")


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    "command", [["ledger"], ["ledger", "query"], ["people", "show", "id:jo"], ["events", "show", "m"]]
)
def test_without_the_extra_a_command_names_it(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda _: None)

    with pytest.raises(CommandError, match=r"extra `ledger` of pyproject.toml: pip install '\.\[ledger\]'"):
        run(*command)


@pytest.mark.usefixtures("recorded")
def test_without_the_extra_lanes_show_reads_the_delivery_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda _: None)

    (lane,) = json.loads(run("lanes", "show", "id:jo", "--json").stdout)

    assert [sent["message_id"] for sent in lane["sent"]] == ["web:b-0"]


@pytest.mark.usefixtures("recorded")
def test_a_key_that_no_event_has_is_refused() -> None:
    with pytest.raises(CommandError, match="jo "):
        run("people", "show", "jo")


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("form", ["{}", "digest:{}"])
def test_a_person_is_named_by_digest_as_in_the_addresses_of_the_console(form: str) -> None:
    key = form.format(lanes.digest("id:jo").hex())

    assert rows("people", "show", key) == rows("people", "show", "id:jo")
    assert rows("ledger", "query", "--person", key) == rows("people", "show", "id:jo")
    (lane,) = json.loads(run("lanes", "show", key, "--json").stdout)
    assert [sent["message_id"] for sent in lane["sent"]] == ["web:b-0", "web:a-0"]


@pytest.mark.parametrize("location", ["directory"], indirect=True)
@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (["people", "show", "jo"], "KEY: jo is no ordering key"),
        (["lanes", "show", ""], "KEY:  is no ordering key"),
        (["ledger", "query", "--person", "digest:jo"], "--person: digest:jo is no ordering key"),
    ],
)
def test_the_argument_of_a_bad_key_is_named(command: list[str], fault: str) -> None:
    with pytest.raises(CommandError, match=fault):
        run(*command)


@pytest.mark.parametrize("location", ["directory"], indirect=True)
@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("command", "argument"),
    [
        (["events", "show", ""], "MESSAGE-ID"),
        (["lanes", "find", " "], "MESSAGE-ID"),
        (["ledger", "query", "--outcome", "refused"], "--outcome"),
    ],
)
def test_an_argument_without_meaning_is_named(command: list[str], argument: str) -> None:
    refused = run(*command)

    assert (refused.exit_code, argument in refused.stderr) == (2, True)


def test_every_outcome_of_the_page_is_one_that_a_query_takes() -> None:
    page = (Path(__file__).parents[4] / "docs" / "ledger.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith("| `outcome` |")]

    assert set(re.findall("`([a-z_]+)`", row)) - {"outcome"} == set(OUTCOMES)


@pytest.mark.usefixtures("recorded")
def test_lanes_find_reads_the_ledger() -> None:
    assert [(row["where"], row["sequence"]) for row in rows("lanes", "find", "a-1")] == [("sent", 2)]
    assert [(row["where"], row["sequence"]) for row in rows("lanes", "find", "web:b-0")] == [("sent", 3)]


def recorder(client: redis.Redis, sequence: int, *keys: str) -> Recorder:
    """Return a recorder of a claim of one event with these ordering keys."""
    event = lanes.ClaimedEvent(sequence, 0, 0, 0, NOON_MS, tuple(map(lanes.digest, keys)), b"")
    return Recorder(queue_of(client, QUEUE), lanes.Claim(f"c{sequence}", (event,), None, False), "worker")


def send(client: redis.Redis, sequence: int, keys: tuple[str, ...], outcome: Outcome, **body: Any) -> None:
    """Have a worker record an item of a person that was sent with this outcome."""
    content = orjson.dumps({"type": "person", **body})
    item = Item(sequence, 0, "slug", body["action"], BATCH_PATH, content, f"web:m{sequence}")
    made = recorder(client, sequence, *keys)
    made.recording(lambda _: [outcome])(Request(BATCH_PATH, (item,)))
    made.write()


@pytest.mark.parametrize("location", ["directory"], indirect=True)
@pytest.mark.usefixtures("recorded")
def test_a_decision_is_in_the_timeline_of_a_person(redis_client: redis.Redis) -> None:
    made = recorder(redis_client, 7, "id:jo")
    made.decide(7, "web:m7", '["filtered","web","internal"]')
    made.write()

    (lane,) = json.loads(run("lanes", "show", "id:jo", "--json").stdout)

    decided, *items = lane["sent"]
    assert (decided["outcome"], decided["refusal"], decided["path"]) == ("filtered", "internal", None)
    assert [sent["outcome"] for sent in items] == ["delivered", "delivered"]
    assert re.search(r"#7 web:m7 .*by worker: filtered: internal$", run("lanes", "show", "id:jo").stdout, re.MULTILINE)


@pytest.mark.parametrize("location", ["directory"], indirect=True)
@pytest.mark.usefixtures("recorded")
def test_a_person_as_of_a_moment(redis_client: redis.Redis) -> None:
    jo, lee = {"id": "jo"}, {"email": "lee@example.com"}
    refused, later = Rejected("no", Response(207, "")), RetryLater("HTTP 500", Response(500, ""), None)
    send(
        redis_client,
        10,
        ("email:lee@example.com",),
        Delivered(),
        action="identify",
        identifiers=lee,
        attributes={"city": "Rome"},
    )
    for outcome in (later, Delivered()):
        send(redis_client, 11, ("id:jo",), outcome, action="identify", identifiers=jo, attributes={"plan": "pro"})
    send(redis_client, 12, ("id:jo",), refused, action="identify", identifiers=jo, attributes={"plan": "free"})
    send(redis_client, 13, ("id:jo",), Delivered(), action="event", identifiers=jo, name="Seen")
    send(redis_client, 14, ("id:jo", "email:lee@example.com"), Delivered(), action="merge", primary=jo, secondary=lee)

    (found,) = rows("people", "show", "id:jo", "--at", "0s")
    (moment,) = found["moments"]
    text = run("people", "show", "id:jo", "--at", "0s").stdout

    set_by = {each["name"]: (each["value"], each["sequence"], each["message_id"]) for each in moment["attributes"]}
    assert set_by == {"plan": ("pro", 11, "web:m11"), "city": ("Rome", 10, "web:m10")}
    assert [each["name"] for each in moment["events"]] == ["Seen"]
    assert [each["key"] for each in moment["merges"]] == ["email:lee@example.com"]
    assert (found["item_count"], found["without_contents"]) == (6, 0)
    assert "What others write to the workspace is not in it" in text
    assert '  plan = "pro"  #11 web:m11 ' in text
    assert rows("people", "show", "id:jo", "--at", "1d")[0]["moments"][0]["state"] == "unknown"


@pytest.mark.parametrize("location", ["directory"], indirect=True)
@pytest.mark.usefixtures("recorded")
def test_a_ledger_without_contents_gives_no_person(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    send(
        redis_client,
        11,
        ("id:max",),
        Delivered(),
        action="identify",
        identifiers={"id": "max"},
        attributes={"plan": "pro"},
    )
    monkeypatch.setattr("ledger.rows.table_of", partial(table_of, contents=False))

    (found,) = rows("people", "show", "id:max", "--at", "0s")

    assert (found["item_count"], found["without_contents"]) == (1, 1)
    assert found["moments"][0]["state"] == "unknown"
    assert "1 item without contents: the ledger keeps none" in run("people", "show", "id:max", "--at", "0s").stdout
