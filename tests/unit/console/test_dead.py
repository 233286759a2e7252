"""`segue dead`, run in this process over fakeredis: what it prints, changes and refuses."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

import lanes
import mapping
from console import cli
from console.dead import editing
from dead_letters import query, retention, spill_files
from dead_letters.query import Filter
from delivery import wire
from delivery.ulid import is_ulid
from mapping.envelope import pack
from settings import Settings
from tests.queues import queue_of
from tests.secrets import CREDENTIALS_TOML

CONFIG = f"""
[destinations.demo]
{CREDENTIALS_TOML}[destinations.demo.delivery]
dead_letters = 4
"""
PATCH = '{"properties": {"url": "https://example.com"}}'

REQUEST = {"subscription": "Track Event", "action": "trackEvent", "path": "/api/v2/entity", "request": {}}

Dead = Callable[..., tuple[int, str, str]]


@pytest.fixture
def dead(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Dead:
    """Run `segue dead …` as the installed script does; return its exit code, stdout and stderr."""
    (tmp_path / "segue.toml").write_text(CONFIG)
    monkeypatch.delenv("SEGUE_SPILL_DIR", raising=False)
    monkeypatch.setenv("SEGUE_CONFIG", str(tmp_path / "segue.toml"))
    store.ping()

    def run(*arguments: object, given: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["segue", "dead", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run


def failure(reason: str = "invalid", message: str = "no url", **more: Any) -> dict[str, Any]:
    faults = [{"subscription": "Track Page View", "action": "trackPageView", "message": message}]
    return {"class": reason, "message": message, "faults": faults, "buried_at_ms": 1_700_000_000_000} | more


def line_of(line: dict[str, Any] | None = None, **more: Any) -> str:
    """Return an export line with some members replaced."""
    return json.dumps({"source": "web", "event": {}, "failure": failure(**more)} | (line or {}))


def bury(client: redis.Redis, user: str, **more: Any) -> None:
    event = {"type": "page", "properties": {}, "userId": user, "messageId": f"of {user}"}
    dead_letter = lanes.ImportedDeadLetter(
        None, 1_700_000_000_000, (f"id:{user}",), pack("web", event), orjson.dumps(failure(**more))
    )
    lanes.import_dead_letters(queue_of(client, "demo"), [dead_letter])


def block(client: redis.Redis) -> None:
    """Append two events of one person to an empty queue, and bury the first one so that it blocks the second."""
    for name in ("first", "second"):
        event = {"type": "page", "name": name, "properties": {}, "userId": "held", "messageId": name}
        lanes.append(queue_of(client, "demo"), [lanes.NewEvent(pack("web", event), ("id:held",), name)])
    claim = lanes.claim(queue_of(client, "demo"), lease_ms=1000, max_events=1, max_bytes=10**6, max_depth=0, poll_ms=0)
    burial = lanes.Burial(claim.events[0].sequence, orjson.dumps(failure()), blocks=True)
    lanes.settle(queue_of(client, "demo"), claim.id, buried=[burial])


def users(client: redis.Redis) -> list[str]:
    return [dead_letter.event["userId"] for dead_letter in query.matching(queue_of(client, "demo"), Filter())]


def everything(client: redis.Redis) -> dict[bytes, Any]:
    return {key: client.dump(key) for key in client.keys("*") if not key.endswith(b":wakeup")}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["list", "1", "99"], "demo has no dead letter 99"),
        (["export", "99"], "demo has no dead letter 99"),
        (["show", "99"], "demo has no dead letter 99"),
        (["replay", "99"], "demo has no dead letter 99"),
        (["replay", "1", "99"], "demo has no dead letter 99"),
        (["replay", "--dry-run", "--as-it-was"], "--dry-run maps events again"),
        (["replay", "--dry-run", "--as-recorded"], "--dry-run maps events again"),
        (["skip", "99"], "demo has no dead letter 99"),
        (["skip"], "name the dead letters"),
        (["replay"], "name the dead letters: their ids, options as for `segue dead list`, or --all"),
        (["replay", "--as-recorded"], "or --all"),
        (["replay", "--all", "--reason", "invalid"], "--all excludes ids and the other options"),
        (["list", "--since", "1m", "--until", "1h"], "--until: must be after --since"),
        (["edit"], "name the dead letters"),
        (["edit", "1", "2"], "--patch is required"),
        (["edit", "--reason", "invalid"], "--patch is required"),
        (["edit", "1", "--patch", '{"userId": null}'], "ingest refuses such an event: userId: is missing"),
        (["skip", "--reason", "invalid"], "2 dead letters would be skipped; without a terminal, --yes is required"),
        (["edit", "99", "--patch", "{}"], "demo has no dead letter 99"),
        (["edit", "1", "--patch", "{"], "the patch is not JSON"),
        (["edit", "1", "--patch", "[]"], "the patch must be an object or a list of steps"),
        (
            ["edit", "1", "--patch", '[{"op": "remove", "path": "/absent"}]'],
            "step 1 of the patch (remove /absent): ",
        ),
        (
            ["list", "--reason", "boredom"],
            "'exhausted', 'poison', 'deleted' or 'internal'; it is 'boredom'",
        ),
        (["list", "--person", "jo"], "--person: must be an ordering key such as id:jo; it is 'jo'"),
        (["list", "--text", ""], "--text: String should have at least 1 character"),
        (["list", "--destination", "moon"], 'there is no destination "moon"; there are demo'),
        (["import", "absent.jsonl"], "No such file"),
        (["import", "segue.toml"], "line 2 is not JSON"),
        (["purge"], "2 dead letters would be removed; without a terminal, --yes is required"),
        (["purge", "99", "--yes"], "demo has no dead letter 99"),
        (["cancel", "nothing"], "demo has no replay nothing"),
    ],
)
def test_bad_input_is_one_text_and_changes_nothing(
    dead: Dead, store: redis.Redis, arguments: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bury(store, "jo")
    bury(store, "al")
    before = everything(store)

    code, _, error = dead(*arguments)

    assert (code, error.startswith("segue: "), "Traceback" in error) == (2, True, False)
    assert text in " ".join(error.split())
    assert everything(store) == before


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('{"source": "web"', "line 2 is not JSON"),
        ("[]", "line 2 is not a dead letter"),
        ('{"source": "web", "event": {}}', "failure: Field required"),
        ('{"source": "web", "event": {}, "failure": {"class": "boredom"}}', "failure.class: Input should be 'invalid'"),
        ('{"source": "web", "event": {}, "again": {}, "why": {}}', "line 2 was exported by an older version of Segue"),
        (line_of(deaths=2), "failure.deaths: Unexpected keyword argument"),
        ('{"source": "web", "event": 1, "failure": {}}', "event: Input should be a valid dictionary"),
        (line_of(buried_at_ms=10**14), "failure.buried_at_ms: Input should be less than"),
        (line_of(attempts=7), "failure.attempts: Input should be a valid tuple"),
        (line_of(original=7), "failure.original: Input should be a valid dictionary"),
        (line_of(faults=[{"message": "m", "request": {}}]), "subscription"),
        (line_of(faults=[failure()["faults"][0] | {"request": {}}]), "a fault with a request needs a path"),
        (line_of(unsent=[REQUEST | {"path": "/elsewhere"}]), "failure.unsent.0.path: Input should be '/api/v2/entity'"),
        (line_of({"requeued": {"requests": [{}]}}), "requeued.requests.0.subscription: Field required"),
        (line_of({"requeued": {"accepted_at_ms": "x"}}), "requeued.accepted_at_ms: Input should be a valid integer"),
        (line_of({"sequence": 2**63}), "sequence: Input should be less than"),
        (line_of({"sequence": 10**12}), "sequence: Input should be less than"),
    ],
)
def test_a_file_with_one_invalid_line_is_not_imported(dead: Dead, store: redis.Redis, line: str, text: str) -> None:
    bury(store, "jo")
    good = dead("export")[1]
    dead("purge", "--yes")

    code, _, error = dead("import", given=f"{good}{line}\n")

    assert (code, users(store)) == (2, [])
    assert text in error
    assert "nothing was imported" in error


def test_a_dry_run_of_an_import_names_every_refused_line_and_imports_nothing(dead: Dead, store: redis.Redis) -> None:
    bury(store, "jo")
    good = dead("export")[1]
    before = everything(store)

    code, shown, _ = dead("import", "--dry-run", given=f'{good}[]\n{{"source": 1}}\n{line_of()}\n{good}')

    assert (code, everything(store)) == (1, before)
    assert shown.splitlines() == [
        "1 dead letter would be imported; 2 exist already",
        "  for demo: 3 lines",
        "  refused, line 2, it: Input should be a dictionary or an instance of Line",
        "  refused, line 3, source: Input should be a valid string",
        "nothing would be imported: 2 faults",
    ]
    assert dead("import", "--dry-run", given=good)[:2] == (
        0,
        "0 dead letters would be imported; 1 exist already\n  for demo: 1 line\n",
    )


def test_a_dry_run_of_an_import_says_that_there_is_no_room(dead: Dead) -> None:
    code, shown, _ = dead("import", "--dry-run", given="\n".join([line_of()] * 5))

    assert code == 1
    assert "refused, all lines: demo has 0 dead letters and keeps 4; 5 more are too many" in shown


@pytest.mark.parametrize("option", ["--as-recorded", "--as-it-was"])
def test_recorded_requests_are_replayed_by_either_name_of_the_option(
    dead: Dead, store: redis.Redis, option: str
) -> None:
    bury(store, "jo")

    replay = json.loads(dead("replay", option, "--all", "--detach", "--json")[1])

    assert (replay["mode"], replay["state"]) == ("as_recorded", "running")
    assert "--as-it-was" not in dead("replay", "--help")[1]


def test_a_line_whose_original_is_null_was_not_edited(dead: Dead, store: redis.Redis) -> None:
    assert dead("import", given=line_of(original=None))[0] == 0

    (dead_letter,) = query.matching(queue_of(store, "demo"), Filter())
    assert not dead_letter.is_edited


def test_exported_dead_letters_are_imported_once_and_in_order(dead: Dead, store: redis.Redis) -> None:
    for user in ("jo", "al", "Al"):
        bury(store, user)
    exported = dead("export", "--person", "id:jo")[1]
    assert dead("purge", "--person", "id:jo", "--yes")[1] == "1 dead letter removed\n"

    assert dead("import", given=exported)[1] == "1 dead letter imported\n"
    assert dead("import", given=exported)[1] == "0 dead letters imported; 1 existed already\n"
    assert users(store) == ["jo", "al", "Al"]


def test_a_spill_file_is_imported_unless_it_would_exceed_the_limit(
    dead: Dead, store: redis.Redis, tmp_path: Path
) -> None:
    for user in ("jo", "al", "jo"):
        bury(store, user)
    retention.spill_excess(
        queue_of(store, "demo"), mapping.Delivery(dead_letter_days=1), tmp_path, int(time.time() * 1000), lambda: True
    )
    (file,) = spill_files.files(tmp_path, "demo")

    assert dead("import", file)[1] == "3 dead letters imported\n"
    bury(store, "al")
    bury(store, "al")
    assert dead("import", file)[1] == "0 dead letters imported; 3 existed already\n"
    dead("purge", "--person", "id:jo", "--yes")
    code, _, error = dead("import", file)
    assert code == 2
    assert "demo has 3 dead letters and keeps 4; 2 more are too many" in error

    file.write_bytes(file.read_bytes()[:-4])
    dead("purge", "--yes")
    code, _, error = dead("import", file)
    assert (code, users(store)) == (2, [])
    assert "is torn" in error


@pytest.mark.parametrize("width", ["40", "80", "200"])
def test_lists_are_whole_at_any_width(
    dead: Dead, store: redis.Redis, monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    """A message may hold what Rich takes for markup or an emoji."""
    monkeypatch.setenv("COLUMNS", width)
    message = "The value at /items/[name] must be one of the options of [b]this field[/b] and not :apple:."
    bury(store, "jo", message=message, reason="exhausted")
    dead("replay", "--detach", "--reason", "exhausted", "--text", "[b]")

    shown = {name: dead(*name.split()) for name in ("list", "list --group", "stats", "replays")}

    text = {name: " ".join(printed.split()) for name, (_, printed, _) in shown.items()}
    for name, (code, printed, _) in shown.items():
        assert code == 0, name
        assert "…" not in printed, name
        assert all(len(line) <= int(width) for line in printed.splitlines()), name
    assert f"exhausted trackPageView page of id:jo from web {message} 1 dead letter" in text["list"]
    assert text["list --group"] == f"1 exhausted Track Page View (trackPageView) {message}"
    assert "dead letters 1 exhausted 1 limit 4 blocking 0 in spill files 0" in text["stats"]
    assert "mapped: running, 0 of 1; reason=exhausted, text=[b] started by " in text["replays"]


def test_list_group_counts_each_kind_of_error(dead: Dead, store: redis.Redis) -> None:
    for n in range(3):
        bury(store, f"u{n}", message=f"u{n}@example.com: value '{n}' of item {n} is too long")
    bury(store, "jo", reason="rejected", message="name: is empty (required)")

    for n in range(2):
        bury(store, f"v{n}", message=f"The root value is missing the required field '{'ab'[n]}'.")

    (rows,) = map(json.loads, dead("list", "--group", "--json")[1].splitlines())

    assert [(row["class"], row["subscription"], row["count"]) for row in rows] == [
        ("invalid", "Track Page View", 3),
        ("rejected", "Track Page View", 1),
        ("invalid", "Track Page View", 1),
        ("invalid", "Track Page View", 1),
    ]
    assert rows[0]["message"] == "#: value … of item # is too long"
    assert rows[2]["message"] == "The root value is missing the required field 'a'."


def test_a_bulk_command_changes_what_the_same_filter_lists(dead: Dead, store: redis.Redis) -> None:
    bury(store, "jo")
    bury(store, "al", reason="rejected")
    bury(store, "jo", reason="rejected", message="something else")
    options = ("--person", "id:jo", "--reason", "rejected", "--text", "SOMETHING", "--since", "2023-01-01")
    listed = [json.loads(line)["sequence"] for line in dead("list", *options, "--json")[1].splitlines()]

    dead("purge", *options, "--yes")

    assert listed == [3]
    assert [dead_letter.sequence for dead_letter in query.matching(queue_of(store, "demo"), Filter())] == [1, 2]


@pytest.fixture
def two(tmp_path: Path, dead: Dead, store: redis.Redis) -> Dead:
    """`segue dead …` with the destinations `demo` and `other`. Both have a dead letter 1, and `demo` has the 2."""
    (tmp_path / "segue.toml").write_text(f'{CONFIG}[destinations.other]\nsite_id = "s"\napi_key = "k"\n')
    bury(store, "jo")
    bury(store, "al")
    event = {"type": "page", "properties": {}, "userId": "bo", "messageId": "of bo"}
    other = lanes.ImportedDeadLetter(None, 1, ("id:bo",), pack("app", event), orjson.dumps(failure()))
    lanes.import_dead_letters(queue_of(store, "other"), [other])
    return dead


def test_every_command_works_across_destinations(two: Dead, store: redis.Redis) -> None:
    listed = [json.loads(line) for line in two("list", "--json")[1].splitlines()]
    assert [(row["destination"], row["sequence"], row["person"], row["blocks"]) for row in listed] == [
        ("demo", 1, "id:jo", False),
        ("demo", 2, "id:al", False),
        ("other", 1, "id:bo", False),
    ]
    assert "page of id:bo from app for other" in " ".join(two("list")[1].split())
    assert json.loads(two("list", "--group", "--json")[1])[0]["count"] == 3
    assert [json.loads(line)["destination"] for line in two("stats", "--json")[1].splitlines()] == ["demo", "other"]
    assert json.loads(two("show", 2)[1])["destination"] == "demo"
    assert json.loads(two("show", 1, "--destination", "other")[1])["event"]["userId"] == "bo"

    begun = [json.loads(line) for line in two("replay", "--text", "of ", "--detach", "--json")[1].splitlines()]
    assert [(replay["destination"], replay["total"]) for replay in begun] == [("demo", 2), ("other", 1)]
    assert {json.loads(line)["id"] for line in two("replays", "--json")[1].splitlines()} == {
        replay["id"] for replay in begun
    }
    assert two("cancel", begun[1]["id"])[0] == 0

    exported = two("export")[1]
    assert two("purge", "--yes")[1] == "3 dead letters removed\n"
    assert two("import", given=exported)[1] == "3 dead letters imported\n"
    assert [json.loads(line)["destination"] for line in two("list", "--json")[1].splitlines()] == ["demo"] * 2 + [
        "other"
    ]
    assert two("skip", "--source", "app", "--yes")[1] == "1 dead letter skipped\n"
    assert users(store) == ["jo", "al"]


@pytest.mark.parametrize("command", [("show", 1), ("replay", 1), ("skip", 1), ("edit", 1, "--patch", "{}")])
def test_an_id_that_several_destinations_have_is_ambiguous(two: Dead, command: tuple[Any, ...]) -> None:
    code, _, error = two(*command)

    assert code == 2
    assert "demo and other have a dead letter 1: say --destination" in " ".join(error.split())


def test_a_line_that_names_no_destination_is_imported_where_the_option_says(two: Dead, store: redis.Redis) -> None:
    code, _, error = two("import", given=line_of())
    assert (code, users(store)) == (2, ["jo", "al"])
    assert "line 1 names none of the destinations demo, other" in error

    assert two("import", "--destination", "other", given=line_of())[1] == "1 dead letter imported\n"


def test_a_duration_is_so_long_ago(dead: Dead, store: redis.Redis) -> None:
    bury(store, "old")
    bury(store, "new", buried_at_ms=int(time.time() * 1000) - 60_000)

    assert [json.loads(line)["person"] for line in dead("list", "--since", "1h", "--json")[1].splitlines()] == [
        "id:new"
    ]
    assert [json.loads(line)["person"] for line in dead("list", "--until", "1h", "--json")[1].splitlines()] == [
        "id:old"
    ]
    assert dead("list", "--since", "yesterday")[0] == 2


def test_a_patch_edits_all_that_match_and_a_dry_run_none(dead: Dead, store: redis.Redis) -> None:
    for user in ("jo", "al", "bo"):
        bury(store, user)
    dead("edit", 2, "--patch", PATCH)
    before = everything(store)

    dry = json.loads(dead("edit", "--reason", "invalid", "--patch", PATCH, "--dry-run", "--json")[1])
    assert (dry["edited"], dry["unchanged"], dry["refused"], dry["fail_again"]) == (2, 1, [], {})
    assert everything(store) == before
    worse = json.loads(dead("edit", 2, "--patch", '{"properties": null}', "--dry-run", "--json")[1])
    assert list(worse["fail_again"].values()) == [1]

    code, printed, _ = dead("edit", "--reason", "invalid", "--patch", PATCH)
    assert (code, printed) == (0, "2 dead letters were edited\n1 unchanged: the patch changes nothing in them\n")
    found = list(query.matching(queue_of(store, "demo"), Filter()))
    assert [dead_letter.event["properties"]["url"] for dead_letter in found] == ["https://example.com"] * 3


def test_dead_letters_that_a_patch_does_not_fit_are_named_and_the_others_are_edited(
    dead: Dead, store: redis.Redis
) -> None:
    bury(store, "jo")
    bury(store, "al")
    dead("edit", 1, "--patch", PATCH)
    step = '[{"op": "replace", "path": "/properties/url", "value": "https://example.org"}]'

    code, printed, _ = dead("edit", "--reason", "invalid", "--patch", step)

    assert code == 1
    assert "1 dead letter was edited\n" in printed
    assert "dead letter 2 cannot be edited: step 1 of the patch" in printed


def test_an_editor_that_changes_nothing_edits_nothing(
    dead: Dead, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(store, "jo")
    monkeypatch.setenv("EDITOR", "true")

    assert dead("edit", 1)[1] == "dead letter 1 was not changed\n"

    (dead_letter,) = query.matching(queue_of(store, "demo"), Filter())
    assert not dead_letter.is_edited


def test_show_prints_the_dry_run_and_the_waiting_events(dead: Dead, store: redis.Redis) -> None:
    block(store)
    shown = json.loads(dead("show", 1)[1])

    assert (shown["blocks"], shown["source"], shown["event"]["name"]) == (True, "web", "first")
    assert [(event["sequence"], event["name"], event["message_id"]) for event in shown["waiting"]] == [
        (2, "second", "second")
    ]
    assert shown["would_send"]["operations"] == []
    assert "'url'" in shown["would_send"]["failures"][0]


def test_show_takes_a_waiting_event_that_cannot_be_read(dead: Dead, store: redis.Redis) -> None:
    block(store)
    damaged = lanes.NewEvent(b"neither JSON nor Zstandard", ("id:held",), "damaged")
    lanes.append(queue_of(store, "demo"), [damaged])

    shown = json.loads(dead("show", 1)[1])

    assert [(event["sequence"], event["source"], event["name"]) for event in shown["waiting"]] == [
        (2, "web", "second"),
        (3, "", "(unreadable)"),
    ]


def test_show_prints_the_id_with_which_the_event_would_be_sent(dead: Dead, store: redis.Redis) -> None:
    """Customer.io knows an event by it, and the message id is another one."""
    bury(store, "jo")
    assert dead("edit", 1, "--patch", PATCH)[0] == 0

    (operation,) = json.loads(dead("show", 1)[1])["would_send"]["operations"]

    (stored,) = query.matching(queue_of(store, "demo"), Filter())
    mapped = mapping.translate(stored.event, mapping.destinations(Settings().document())["demo"], time.time())
    assert is_ulid(operation["id"])
    assert wire.bodies(mapped.operations, "web", stored.event, stored.accepted_at_ms) == [operation]


def test_an_edited_dead_letter_keeps_its_original_event(dead: Dead, store: redis.Redis) -> None:
    bury(store, "jo")

    assert dead("edit", 1, "--patch", PATCH)[0] == 0
    assert dead("edit", 1, "--patch", '[{"op": "add", "path": "/properties/seen", "value": true}]')[0] == 0

    (dead_letter,) = query.matching(queue_of(store, "demo"), Filter())
    assert dead_letter.event["properties"] == {"url": "https://example.com", "seen": True}
    assert dead_letter.failure.original is not None
    assert dead_letter.failure.original["properties"] == {}


def test_an_edit_of_a_changed_dead_letter_is_refused(
    dead: Dead, store: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bury(store, "jo")
    (dead_letter,) = query.matching(queue_of(store, "demo"), Filter())
    (tmp_path / "editor.sh").write_text('printf \'{"userId": "jo"}\' > $1')
    monkeypatch.setenv("EDITOR", f"sh {tmp_path / 'editor.sh'}")
    run_editor = editing.subprocess.run

    def edit_first(*arguments: Any, **more: Any) -> Any:
        query.edit(queue_of(store, "demo"), dead_letter, {"first": True})
        return run_editor(*arguments, **more)

    monkeypatch.setattr(editing.subprocess, "run", edit_first)
    code, _, error = dead("edit", 1)

    (dead_letter,) = query.matching(queue_of(store, "demo"), Filter())
    assert (code, dead_letter.event) == (2, {"first": True})
    assert "edited meanwhile; nothing was changed" in " ".join(error.split())


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("printf '{' > $1", "the edited event is not JSON"),
        ("printf '[]' > $1", "an event must be a JSON object"),
        ("exit 3", "exit code 3"),
    ],
)
def test_an_editor_without_a_valid_result_changes_nothing(
    dead: Dead, store: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, text: str
) -> None:
    bury(store, "jo")
    (tmp_path / "editor.sh").write_text(script)
    monkeypatch.setenv("EDITOR", f"sh {tmp_path / 'editor.sh'}")
    before = everything(store)

    code, _, error = dead("edit", 1)

    assert (code, everything(store) == before) == (2, True)
    assert text in error


@pytest.mark.parametrize(
    "request_of_operator",
    [
        {"type": "delete"},
        {"type": "segue privacy request", "action": "suppress", "person": {"user_ids": ["al"]}},
        {"type": "segue privacy request", "action": "unsuppress", "person": {"emails": ["al@example.com"]}},
    ],
)
def test_an_event_cannot_become_a_privacy_request(
    dead: Dead, store: redis.Redis, request_of_operator: dict[str, Any]
) -> None:
    """Who may edit and replay in the console may not erase people."""
    bury(store, "jo")
    before = everything(store)

    code, _, error = dead("edit", 1, "--patch", json.dumps(request_of_operator))

    assert (code, everything(store) == before) == (2, True)
    assert "cannot make, change or end a privacy request" in error


def test_a_blocking_dead_letter_cannot_get_new_ordering_keys(dead: Dead, store: redis.Redis) -> None:
    block(store)

    code, _, error = dead("edit", 1, "--patch", '{"userId": "another"}')

    assert code == 2
    assert "cannot get the new ordering keys id:another" in error


def test_skipping_a_blocking_dead_letter_unblocks_later_events(dead: Dead, store: redis.Redis) -> None:
    block(store)

    assert dead("skip", 1)[1] == "1 dead letter skipped\n"

    figures = lanes.stats(queue_of(store, "demo"))
    assert (figures.dead, figures.blocking, figures.ready) == (0, 0, 1)


def test_stats_print_the_limit_and_the_alarm(dead: Dead, store: redis.Redis) -> None:
    for n in range(5):
        bury(store, f"u{n}")

    figures = json.loads(dead("stats", "--json")[1])

    assert (figures["dead"], figures["most"], figures["by_reason"]) == (5, 4, {"invalid": 5})
    assert figures["alarm"] == "5 dead letters are more than dead_letters = 4"
    assert "alarm" in dead("stats")[1]


def test_a_byte_order_mark_is_no_part_of_a_line(dead: Dead, store: redis.Redis) -> None:
    bury(store, "jo")
    line = dead("export")[1]
    dead("purge", "--yes")

    assert dead("import", given=f"\ufeff{line}")[0] == 0
    assert users(store) == ["jo"]
