"""The commands, run in this process: output and exit codes. An error of the set-up is never a traceback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

import lanes
from console import cli
from delivery import log as delivery_log
from delivery.batching import Item, Request
from delivery.outcomes import Rejected, Response
from lanes.keys import READY
from mapping.envelope import pack
from mapping.operation import BATCH_PATH
from settings import DEFAULT_DOCUMENT, VARIABLES, Settings, SettingsError, digest
from tests.queues import queue_of
from tests.secrets import CREDENTIALS, CREDENTIALS_TOML
from workers import heartbeat

pytestmark = pytest.mark.usefixtures("set_up")
runner = CliRunner()


def main(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command line as the installed script does and return its exit code."""
    monkeypatch.setattr("sys.argv", ["segue", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    file = tmp_path / "segue.toml"
    file.write_text(text)
    monkeypatch.setenv("SEGUE_CONFIG", str(file))
    return file


def test_version_is_one_line_and_exit_code_0() -> None:
    result = runner.invoke(cli.app, ["--version"])

    assert (result.exit_code, result.stdout, result.stderr) == (0, "segue 0.1.0\n", "")


@pytest.mark.parametrize(
    ("command", "unused"),
    [
        (["--version"], ["console.session", "httpx", "lanes", "mapping", "redis", "settings"]),
        (["diff", "segue.toml", "segue.toml", "--events", "/dev/null"], ["celery", "httpx", "liquid", "pyarrow"]),
        (["check"], ["celery", "httpx", "liquid", "privacy", "pyarrow", "starlette", "uvicorn"]),
    ],
    ids=["version", "diff", "check"],
)
def test_a_command_imports_what_it_uses(
    command: list[str], unused: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("NO_PROXY", "localhost")
    (tmp_path / "segue.toml").write_text('[destinations.demo]\nsite_id = "s"\napi_key = "k"\n')
    code = f"""
import sys
from console.cli import main
sys.argv = ["segue", *{command}]
try:
    main()
except SystemExit as end:
    print(end.code, *sorted(sys.modules.keys() & {unused}))
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert ran.stdout.splitlines()[-1] == "0"


def test_a_bad_setting_is_one_text_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGUE_WORKERS", "many")

    assert main(["status"], monkeypatch) == 2
    error = capsys.readouterr().err
    assert error.startswith("segue: SEGUE_WORKERS: ")
    assert "Traceback" not in error


def test_unavailable_redis_is_one_text_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")

    assert main(["status"], monkeypatch) == 2
    written = capsys.readouterr().err
    assert written.startswith("segue: Redis is unavailable: ")
    assert "SEGUE_DATA_DIR to that of a running `segue up`" in written, "the command may be in another directory"


def test_a_missing_configuration_file_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("SEGUE_CONFIG", str(tmp_path / "absent.toml"))

    assert main(["check"], monkeypatch) == 2
    assert "absent.toml: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["up", "worker", "ingest"])
def test_no_process_starts_with_an_invalid_configuration(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    configured(tmp_path, monkeypatch, f'[destinations.one]\nsite_id = "{CREDENTIALS["site_id"]}"\n')

    assert main([command], monkeypatch) == 2
    assert capsys.readouterr().err == ("segue: the configuration is invalid:\ndestinations.one.api_key: is missing\n")


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("127.0.0.1", "segue: port {} of 127.0.0.1: Address already in use; set SEGUE_INGEST_PORT to another one"),
        ("192.0.2.1", "segue: 192.0.2.1: Cannot assign requested address; set SEGUE_HOST to another address"),
    ],
)
def test_ingest_names_the_setting_when_it_cannot_listen(
    host: str, text: str, processes: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("SEGUE_HOST", host)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("SEGUE_INGEST_PORT", str(port))

        assert main(["ingest", "--processes", processes], monkeypatch) == 2

    assert capsys.readouterr().err.splitlines()[-1] == text.format(port)


def test_check_prints_every_fault_and_exits_with_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configured(
        tmp_path,
        monkeypatch,
        '[sources.shop]\ndestinations = ["one"]\n[destinations.one]\n'
        f'site_id = "{CREDENTIALS["site_id"]}"\nregion = "mars"\n',
    )

    result = runner.invoke(cli.app, ["check"])

    assert result.exit_code == 1
    for key in ("destinations.one.api_key", "destinations.one.region", "write_key"):
        assert key in result.stderr


def test_check_prints_a_summary_of_a_valid_configuration() -> None:
    result = runner.invoke(cli.app, ["check"])

    assert result.exit_code == 0
    assert result.stdout == (
        f"configuration {digest(DEFAULT_DOCUMENT)}\n"
        "destination demo: region us, 15 subscriptions enabled\nsource demo (server) → demo\nok\n"
    )


def test_check_says_which_events_a_destination_sends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A moment with a zone is shown as the time in UTC that is compared."""
    file = tmp_path / "segue.toml"
    monkeypatch.setenv("SEGUE_CONFIG", str(file))

    for key, shown in (
        ('mode = "shadow"', "shadow mode: nothing is sent"),
        (
            "cutover_at = 2026-12-01T10:00:00+01:00",
            "sends the events whose receivedAt is 2026-12-01 09:00:00Z or later; the others are shadow events",
        ),
    ):
        file.write_text(f"[destinations.journeys]\n{CREDENTIALS_TOML}\n{key}\n")
        assert f"destination journeys: {shown}\n" in runner.invoke(cli.app, ["check"]).stdout


def test_check_is_strict_when_it_is_asked_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner.invoke(cli.app, ["check", "--strict"]).exit_code == 0
    monkeypatch.setenv("SEGUE_INGST_PORT", "1")

    assert runner.invoke(cli.app, ["check"]).exit_code == 0
    result = runner.invoke(cli.app, ["check", "--strict"])
    assert result.exit_code == 1
    assert "warning: SEGUE_INGST_PORT: there is no such setting; did you mean SEGUE_INGEST_PORT?" in result.stdout
    assert "ok" not in result.stdout.splitlines()


def test_a_process_that_starts_prints_the_warnings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("SEGUE_INGEST_PORT", "tcp://10.0.0.1:8080")
    monkeypatch.setattr("os.execve", lambda *_: sys.exit(0))

    assert main(["worker"], monkeypatch) == 0
    assert "segue: warning: SEGUE_INGEST_PORT: is ignored" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SEGUE_COMPLETE", f"source_{shell}")

    script = runner.invoke(cli.app, [], prog_name="segue").stdout
    assert "_SEGUE_COMPLETE" in script


# What a variable may be set to by mistake. None of it ends a command with a traceback.
BAD = (
    "", "0", "-1", "70000", "1e999", "nan", "inf", "1e308", "9" * 400, "eighty", "redis://", "redis://h:x",
    "redis://:p@h:99999", "http://[", "..", "/dev/null", "/dev/null/x", "a" * 5000, "x@y", "300.1.1.1", "1.2.3.4/99",
    "*,*", "\udcff", "\n", "True", "{}",
)  # fmt: skip


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("variable", [*VARIABLES, "REDIS_URL_FILE"])
def test_no_value_of_a_variable_ends_in_a_traceback(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.execve", lambda *_: sys.exit(0))
    monkeypatch.setattr("ingest.serving.server.run", lambda *_: sys.exit(0))
    monkeypatch.setattr("console.local.up._start", lambda *_: sys.exit(0))

    for value in BAD:
        monkeypatch.setenv(variable, value)
        try:
            Settings.load()
        except SettingsError:
            continue  # `main` prints it, as a test above shows
        for command in ("ingest", "up"):
            monkeypatch.setattr("sys.argv", ["segue", command])
            with pytest.raises(SystemExit) as end:
                cli.main()
            assert end.value.code in (0, 1, 2), (value, command)


def test_status_json_has_the_contracts_names(store: redis.Redis) -> None:
    event = lanes.NewEvent(pack("demo", {"type": "identify", "userId": "42"}), ("id:42",), "demo:m1")
    lanes.append(queue_of(store, "demo"), [event, event])
    store.hset(
        "segue:sources", mapping={"demo:accepted": 1, "demo:duplicates": 1, "demo:rejected": 2, ":unauthorized": 3}
    )

    result = runner.invoke(cli.app, ["status", "--json"])

    status = json.loads(result.stdout)
    (destination,) = status["destinations"]
    assert destination.pop("oldest_age_s") >= 0
    assert destination.pop("now") is None
    assert destination == {
        "name": "demo",
        "waiting": 1,
        "ready": 1,
        "delayed": 0,
        "claimed": 0,
        "blocked": 0,
        "dead": 0,
        "blocking": 0,
        "reordered_total": 0,
        "unbounded_total": 0,
        "too_late_total": 0,
        "delivered_total": 0,
        "buried_total": 0,
        "erased_total": 0,
        "spilled_total": 0,
        "filtered_total": 0,
        "unmatched_total": 0,
        "dropped_total": 0,
        "forgotten_total": 0,
        "shadowed_total": 0,
        "sends": None,
        "fates": [],
        "not_applicable": {},
        "queue_limit": 1_000_000,
        "unapplied": {},
        "alarm": None,
        "state": "no workers",
        "paused": False,
        "breaker": "closed",
        "reason": None,
        "since_ms": None,
        "probe_in_s": None,
        "requests_per_s": 100,
        "limit_per_s": 100,
        "throttled_total": 0,
        "throttled_ms": None,
        "operator": {"pause": None, "rate": None},
        "ledger": None,
        "hot": [],
    }
    assert status["sources"] == [
        {
            "name": "demo",
            "trust": "server",
            "accepted_total": 1,
            "duplicates_total": 1,
            "suppressed_total": 0,
            "rejected_total": 2,
            "dropped_total": 0,
            "unlikely_ids_total": 0,
            "unreadable_times_total": 0,
            "future_times_total": 0,
            "reordered_total": 0,
            "too_late_total": 0,
            "clock_off_total": 0,
            "forbidden_total": 0,
            "throttled_total": 0,
            "destinations": ["demo"],
            "late": dict.fromkeys(["25", "100", "300", "1000", "2000", "5000", "10000", "more"], 0),
        }
    ]
    assert (status["workers"], status["unauthorized_total"]) == (0, 3)
    assert set(status["memory"]) == {"used", "limit", "refused_from"}


@pytest.mark.usefixtures("store")
def test_status_prints_the_screen() -> None:
    result = runner.invoke(cli.app, ["status"], env={"COLUMNS": "80"})

    assert result.exit_code == 0
    for words in ("destination demo: no workers", "waiting", "oldest event", "source demo", "workers: 0"):
        assert words in result.stdout


def test_status_warns_of_a_lane_that_unrelated_people_seem_to_share(store: redis.Redis) -> None:
    events = [lanes.NewEvent(pack("demo", {"type": "track"}), ("anonymous_id:kiosk",), f"m{n}") for n in range(1100)]
    named = pack("demo", {"type": "track", "anonymousId": "door"})
    events += [lanes.NewEvent(named, ("anonymous_id:door",), f"d{n}") for n in range(1050)]
    lanes.append(queue_of(store, "demo"), events)

    result = runner.invoke(cli.app, ["status"], env={"COLUMNS": "160"})

    assert "hot lane: 1,100 events share one ordering key" in result.stdout
    assert "hot lane: 1,050 events share the ordering key anonymous_id:door" in result.stdout
    digest = lanes.digest("anonymous_id:kiosk").hex()
    shown = runner.invoke(cli.app, ["lanes", "show", digest], env={"COLUMNS": "160"}).stdout
    assert f"demo: 1,100 events of {digest} are waiting" in shown


def test_lanes_show_prints_why_the_events_of_a_person_wait(store: redis.Redis) -> None:
    for number, keys in enumerate([("id:old",), ("id:old", "id:42"), ("id:42",)], start=1):
        event = {"type": "track", "event": f"Step {number}"}
        lanes.append(queue_of(store, "demo"), [lanes.NewEvent(pack("demo", event), keys, f"m{number}")])

    result = runner.invoke(cli.app, ["lanes", "show", "id:42", "--json"])

    (lane,) = json.loads(result.stdout)
    assert (lane["key"], lane["destination"], lane["length"]) == ("id:42", "demo", 2)
    assert [(step["name"], step["state"]) for step in lane["steps"]] == [("Step 2", "waiting"), ("Step 1", "ready")]
    lines = runner.invoke(cli.app, ["lanes", "show", "id:42"], env={"COLUMNS": "200"}).stdout.splitlines()
    assert lines[0] == "demo: 2 events of id:42 are waiting; the first:"
    assert "#1 track Step 1" in lines[2]
    assert lines[2].endswith("nothing is sent: no worker is running")
    heartbeat.send(store)
    lines = runner.invoke(cli.app, ["lanes", "show", "id:42"], env={"COLUMNS": "200"}).stdout.splitlines()
    assert lines[2].endswith("no worker has claimed it yet")


def test_lanes_configure_prints_both_values_and_keeps_message_ids(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runner.invoke(cli.app, ["lanes", "configure"]).stdout == (
        "demo: no values are stored: no process has used the queue yet\n"
    )
    queue = queue_of(store, "demo", cooldown_ms=5000)
    lanes.append(queue, [lanes.NewEvent(b"body", (), "m1")])
    monkeypatch.setenv("SEGUE_DEDUPE_S", "600")

    printed = runner.invoke(cli.app, ["lanes", "configure", "--destination", "demo"])

    assert printed.exit_code == 0
    assert printed.stdout.splitlines() == [
        "demo: SEGUE_SETTLE_S is 5 in Redis and 5 here",
        "demo: SEGUE_DEDUPE_S is 86400 in Redis and 600 here; it differs",
        "demo: destinations.demo.delivery.remember_days is 30 in Redis and 30 here",
        "demo: SEGUE_QUEUE_LIMIT is 1000000 in Redis and 1000000 here",
    ]
    assert lanes.stored_config(store, "demo") == queue.config

    applied = runner.invoke(cli.app, ["lanes", "configure", "--apply"])

    assert (applied.exit_code, applied.stdout) == (0, "demo: SEGUE_DEDUPE_S was 86400 and is 600\n")
    assert runner.invoke(cli.app, ["lanes", "configure", "--apply"]).stdout == "demo: nothing to change\n"
    again = queue_of(store, "demo")
    assert lanes.append(again, [lanes.NewEvent(b"body", (), "m1")]).accepted == (False,)


def test_lanes_verify_prints_what_does_not_hold(store: redis.Redis) -> None:
    event = lanes.NewEvent(pack("demo", {"type": "track"}), ("id:42",), "m1")
    lanes.append(queue_of(store, "demo"), [event])

    sound = runner.invoke(cli.app, ["lanes", "verify"])

    text = "queue demo: 1 event, 1 lane, 0 dead letters checked: nothing wrong\n"
    assert (sound.exit_code, sound.stdout) == (0, text)

    store.zrem(READY.of("demo"), "1")
    damaged = runner.invoke(cli.app, ["lanes", "verify", "--destination", "demo"])

    text = "neither in :ready, nor claimed, nor blocked, nor a blocking dead letter"
    last = "queue demo: 1 event, 1 lane, 0 dead letters checked: 1 violation"
    assert (damaged.exit_code, damaged.stdout.splitlines()) == (1, [f"event 1: {text}", last])

    as_json = runner.invoke(cli.app, ["lanes", "verify", "--json"])

    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout) == {
        "destination": "demo",
        "checked": {"events": 1, "lanes": 1, "claims": 0, "dead_letters": 0},
        "violations": [{"object": "event 1", "invariant": "state", "text": text}],
    }


def test_lanes_show_prints_what_was_sent_and_the_response(store: redis.Redis) -> None:
    event = lanes.ClaimedEvent(7, 0, 0, 0, 1_700_000_000_000, (lanes.digest("id:42"),), b"")
    recorder = delivery_log.Recorder(queue_of(store, "demo"), lanes.Claim("c", (event,), None, False), "worker")
    send = recorder.recording(lambda _: [Rejected("name: too long", Response(207, ""))])
    send(Request(BATCH_PATH, (Item(7, 0, "trackEvent", "event", "", b'{"name":"Bought"}', "web:m7"),)))
    recorder.write()

    (lane,) = json.loads(runner.invoke(cli.app, ["lanes", "show", "id:42", "--json"]).stdout)
    lines = runner.invoke(cli.app, ["lanes", "show", "id:42"], env={"COLUMNS": "300"}).stdout.splitlines()

    (sent,) = lane["sent"]
    assert (sent["sequence"], sent["item"], sent["refusal"]) == (7, {"name": "Bought"}, "name: too long")
    assert sent["accepted_ms"] < sent["claimed_ms"] <= sent["sent_ms"] <= sent["responded_ms"]
    assert lines[0] == "demo: no event of id:42 is waiting"
    assert lines[1].startswith("#7 web:m7 accepted 2023-11-14 22:13:20.000 UTC, claimed +")
    assert lines[1].endswith(": name: too long")
    assert lines[2] == '  /api/v2/batch {"name":"Bought"}'


@pytest.mark.usefixtures("store")
def test_lanes_show_of_an_empty_lane() -> None:
    assert runner.invoke(cli.app, ["lanes", "show", "id:42"]).stdout == "demo: no event of id:42 is waiting\n"


def test_the_error_for_an_unknown_destination_names_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lanes", "show", "id:42", "--destination", "nowhere"], monkeypatch) == 2
    assert capsys.readouterr().err == 'segue: there is no destination "nowhere"; there are demo\n'


def test_translate_prints_one_line_for_each_line() -> None:
    lines = [
        {"id": "1", "event": {"type": "identify", "userId": "42", "traits": {}}},
        {"id": "2", "event": {"type": "track", "userId": "42", "event": "Bought"}},
    ]

    result = runner.invoke(cli.app, ["translate"], input="\n".join(json.dumps(line) for line in lines))

    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == ["1", "2"]
    assert answers[1]["requests"][0]["json"]["name"] == "Bought"


def test_translate_uses_the_destination_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "eu.toml"
    file.write_text(f'[destinations.one]\n{CREDENTIALS_TOML}region = "eu"\n')
    line = json.dumps({"id": "1", "event": {"type": "identify", "userId": "42", "traits": {}}})

    result = runner.invoke(cli.app, ["translate", "--config", str(file)], input=line)

    assert json.loads(result.stdout)["requests"][0]["url"].startswith("https://track-eu.customer.io/")


def test_test_shows_the_request_and_sends_nothing(tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps({"type": "identify", "userId": "42", "traits": {"plan": "[bold]pro"}}))

    shown = runner.invoke(cli.app, ["test", str(file)]).stdout

    assert "ordering keys: id:42" in shown
    assert "✓ Create or Update Person (createUpdatePerson)\n" in shown
    assert "POST /api/v2/batch\n" in shown
    assert '"plan": "[bold]pro"' in shown
    assert "nothing was sent" in shown


def test_test_shows_why_nothing_would_be_sent() -> None:
    page = json.dumps({"type": "page", "userId": "42", "name": "https://x.com"})

    shown = runner.invoke(cli.app, ["test"], input=page, env={"COLUMNS": "200"}).stdout

    assert "The root value is missing the required field 'url'." in shown


def test_test_names_the_conditions_that_are_not_met() -> None:
    track = '{"type": "track", "event": "x", "userId": "42"}'

    shown = runner.invoke(cli.app, ["test", "--verbose"], input=track).stdout

    assert 'type = "identify" is not met; the value is "track"' in shown
    assert "is not met" not in runner.invoke(cli.app, ["test"], input=track).stdout


def test_test_sends_no_shadow_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configured(tmp_path, monkeypatch, f'[destinations.demo]\nmode = "shadow"\n{CREDENTIALS_TOML}')
    file = tmp_path / "event.json"
    file.write_text(json.dumps({"type": "identify", "userId": "42", "traits": {}}))

    shown = runner.invoke(cli.app, ["test", str(file)]).stdout

    assert "demo: this is a shadow event, which no worker sends" in shown
    assert main(["test", str(file), "--send", "--yes"], monkeypatch) == 2
    refused = "segue: nothing was sent: this is a shadow event of demo, which no worker sends\n"
    assert capsys.readouterr().err == refused


@pytest.mark.parametrize("text", ["{", "[]"])
def test_test_refuses_an_invalid_event(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "event.json"
    file.write_text(text)

    assert main(["test", str(file)], monkeypatch) == 2
    assert capsys.readouterr().err.startswith("segue: the event ")
