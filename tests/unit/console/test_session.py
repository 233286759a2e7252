"""How commands find their set-up: the `segue up` of the data directory, the environment, and the values of a queue."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
import uvicorn
from uvicorn.importer import import_from_string

import lanes
from console import cli
from console.local import running, up
from console.session import Session
from mapping.envelope import pack
from settings import Settings
from tests.queues import DAY_S, queue_of
from tests.secrets import CREDENTIALS_TOML
from tests.unit.console.test_cli import configured, main, runner
from workers import heartbeat

REDIS = "redis://127.0.0.1:7777/0"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch, set_up: None) -> None:  # noqa: ARG001
    for name in ("SEGUE_SETTLE_S", "SEGUE_DEDUPE_S", "SEGUE_QUEUE_LIMIT", "SEGUE_SPILL_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("execv", "execve"):  # a worker would replace the process of the tests
        monkeypatch.setattr(os, name, lambda *arguments: pytest.fail(f"started {arguments[1]}"))
    monkeypatch.setattr(uvicorn, "run", lambda *_, **__: pytest.fail("started ingest"))


def record_up(tmp_path: Path, **variables: str) -> None:
    """Record a running `segue up` with these shared variables."""
    running.write(tmp_path, running.Running(os.getpid(), {}, {}, {"REDIS_URL": REDIS, **variables}))


def bury(client: redis.Redis, name: str) -> None:
    failure = orjson.dumps({"class": "invalid", "message": "m", "faults": [], "buried_at_ms": 1})
    dead_letter = lanes.ImportedDeadLetter(None, 1, ("id:1",), pack("web", {}), failure)
    lanes.import_dead_letters(queue_of(client, name), [dead_letter])


def printed_json(*arguments: str) -> Any:
    result = runner.invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_dead_and_status_read_the_same_queue(store: redis.Redis, tmp_path: Path) -> None:
    """`segue dead` ignored SEGUE_CONFIG of the `up`: it printed 0 dead letters of another queue, with exit code 0."""
    file = tmp_path / "segue.toml"
    file.write_text(f"[destinations.journeys]\n{CREDENTIALS_TOML}")
    record_up(tmp_path, SEGUE_CONFIG=str(file))
    bury(store, "journeys")

    (status,) = printed_json("status", "--json")["destinations"]
    dead = printed_json("dead", "stats", "--json")

    assert (status["name"], status["dead"]) == ("journeys", 1)
    assert (dead["destination"], dead["dead"]) == ("journeys", 1)


def test_every_shared_variable_of_the_up_is_applied(tmp_path: Path) -> None:
    variables = {
        "SEGUE_CONFIG": "/etc/segue.toml",
        "SEGUE_TRACK_URL": "http://127.0.0.1:8090",
        "SEGUE_SETTLE_S": "0.05",
        "SEGUE_DEDUPE_S": "60",
        "SEGUE_QUEUE_LIMIT": "7",
        "SEGUE_SPILL_DIR": "/var/spill",
    }
    record_up(tmp_path, **variables)

    settings = Session.join().settings

    assert (settings.redis_url, settings.config, settings.track_url) == (
        REDIS,
        Path("/etc/segue.toml"),
        "http://127.0.0.1:8090",
    )
    assert (settings.settle_s, settings.dedupe_s, settings.queue_limit) == (0.05, 60, 7)
    assert settings.spill_dir == Path("/var/spill")


def test_joining_does_not_change_the_environment(tmp_path: Path) -> None:
    record_up(tmp_path, SEGUE_SETTLE_S="0.05")
    before = dict(os.environ)

    session = Session.join()

    assert dict(os.environ) == before
    assert session.environment() == before | {"REDIS_URL": REDIS, "SEGUE_SETTLE_S": "0.05"}


def test_a_variable_of_the_shell_has_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_up(tmp_path, SEGUE_SETTLE_S="0.05")
    monkeypatch.setenv("SEGUE_SETTLE_S", "2")

    session = Session.join()

    assert session.settings.settle_s == 2
    assert session.environment()["SEGUE_SETTLE_S"] == "2"


def test_with_redis_url_nothing_is_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_up(tmp_path, SEGUE_SETTLE_S="0.05")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere:6379/0")

    session = Session.join()

    assert (session.settings.redis_url, session.settings.settle_s) == ("redis://elsewhere:6379/0", 5.0)
    assert session.environment() == dict(os.environ)


def test_up_shares_the_variables_that_are_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert up.shared_variables(Settings.load()) == {}

    monkeypatch.setenv("SEGUE_SETTLE_S", "0.05")
    monkeypatch.setenv("SEGUE_DEDUPE_S", "60")
    monkeypatch.setenv("SEGUE_QUEUE_LIMIT", "1000000")
    monkeypatch.setenv("SEGUE_SPILL_DIR", "spill")
    monkeypatch.setenv("SEGUE_CONFIG", "segue.toml")
    monkeypatch.setenv("SEGUE_LEASE_S", "5")

    assert up.shared_variables(Settings.load()) == {
        "SEGUE_SETTLE_S": "0.05",
        "SEGUE_DEDUPE_S": "60",
        "SEGUE_QUEUE_LIMIT": "1000000",
        "SEGUE_SPILL_DIR": str(tmp_path / "spill"),
        "SEGUE_CONFIG": str(tmp_path / "segue.toml"),
    }


def test_values_that_are_not_set_are_those_of_the_queue(store: redis.Redis) -> None:
    queue_of(store, "demo", cooldown_ms=50, dedupe_s=60, limit=7, join_s=3 * DAY_S)

    queue = Session.join().queue("demo")

    assert queue.config == lanes.QueueConfig(cooldown_ms=50, dedupe_s=60, limit=7, join_s=3 * DAY_S)


def test_a_new_queue_has_the_values_of_the_settings(store: redis.Redis) -> None:
    queue = Session.join().queue("demo")

    assert (queue.cooldown_ms, queue.dedupe_s, queue.limit) == (5_000, 86_400, 1_000_000)
    assert store.keys("*") == [], "a command that reads writes nothing"


@pytest.mark.parametrize(
    "command", ["forget --user-id 1", "forget --user-id 1 --suppress", "unsuppress --user-id 1", "dead import file"]
)
def test_a_command_that_writes_to_a_new_queue_stores_its_values(
    store: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Keys without a stored layout are those of an older version: no process would start any more."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(store, "info", lambda *_: {"aof_enabled": 0})
    failure = {"class": "invalid", "message": "m", "faults": [], "buried_at_ms": 1}
    (tmp_path / "file").write_bytes(orjson.dumps({"source": "web", "event": {"userId": "1"}, "failure": failure}))

    result = runner.invoke(cli.app, command.split())

    assert result.exit_code == 0, result.output
    assert lanes.open_queue(Session.join().queue("demo")).cooldown_ms == 5_000


@pytest.mark.parametrize(
    ("variable", "value", "stored", "text"),
    [
        ("SEGUE_SETTLE_S", "5", {"cooldown_ms": 50}, "SEGUE_SETTLE_S is 5 here and 0.05 in Redis"),
        ("SEGUE_DEDUPE_S", "60", {"dedupe_s": 86_400}, "SEGUE_DEDUPE_S is 60 here and 86400 in Redis"),
        ("SEGUE_QUEUE_LIMIT", "7", {"limit": 2_000_000}, "SEGUE_QUEUE_LIMIT is 7 here and 2000000 in Redis"),
    ],
)
@pytest.mark.parametrize("command", ["status", "dead stats", "forget --user-id 1", "lanes show id:1", "worker"])
def test_a_variable_that_differs_from_the_queue_is_an_error(
    store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    variable: str,
    value: str,
    stored: dict[str, int],
    text: str,
) -> None:
    queue_of(store, "demo", **{"cooldown_ms": 5_000, "limit": 1_000_000} | stored)
    monkeypatch.setenv(variable, value)

    assert main(command.split(), monkeypatch) == 2

    error = capsys.readouterr().err
    assert error.startswith(f"segue: destination demo: {text}; ")
    assert "all processes must use the same value" in error
    assert "docs/settings.md" in error


def test_remember_days_that_differ_from_the_queue_are_an_error(
    store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    text = f"[destinations.demo]\n{CREDENTIALS_TOML}[destinations.demo.delivery]\nremember_days = 7\n"
    configured(tmp_path, monkeypatch, text)
    queue_of(store, "demo", join_s=30 * DAY_S)

    assert main(["status"], monkeypatch) == 2

    expected = "destinations.demo.delivery.remember_days is 7 here and 30 in Redis"
    assert capsys.readouterr().err.startswith(f"segue: destination demo: {expected}; ")


def test_lanes_configure_stores_the_values_of_the_environment(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue_of(store, "demo", cooldown_ms=50, limit=1_000_000)
    monkeypatch.setenv("SEGUE_QUEUE_LIMIT", "2000000")

    first = runner.invoke(cli.app, ["lanes", "configure", "--apply"])
    again = runner.invoke(cli.app, ["lanes", "configure", "--apply"])

    assert first.stdout.splitlines() == [
        "demo: SEGUE_SETTLE_S was 0.05 and is 5",
        "demo: SEGUE_QUEUE_LIMIT was 1000000 and is 2000000",
    ]
    assert again.stdout == "demo: nothing to change\n"
    stored = lanes.stored_config(store, "demo")
    assert stored is not None
    assert (stored.cooldown_ms, stored.limit) == (5_000, 2_000_000)


def test_lanes_configure_is_refused_while_workers_run(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queue_of(store, "demo", cooldown_ms=50)
    heartbeat.send(store)

    assert main(["lanes", "configure", "--apply"], monkeypatch) == 2

    assert capsys.readouterr().err == "segue: queue demo: 1 workers are running; stop ingest and every worker\n"
    stored = lanes.stored_config(store, "demo")
    assert stored is not None
    assert stored.cooldown_ms == 50


@pytest.mark.parametrize("command", ["worker", "ingest"])
def test_a_process_does_not_start_with_other_values_than_the_queue(
    store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    """A process uses its own values, so the default of a variable that is not set counts as well."""
    queue_of(store, "demo", cooldown_ms=50, limit=1_000_000)

    assert main([command], monkeypatch) == 2
    assert "SEGUE_SETTLE_S is 5 here and 0.05 in Redis" in capsys.readouterr().err


def test_a_worker_runs_with_the_variables_of_the_up(
    store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    queue_of(store, "demo", cooldown_ms=50, limit=1_000_000)
    record_up(tmp_path, SEGUE_SETTLE_S="0.05")
    run: list[dict[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda *arguments: run.append(arguments[2]))

    result = runner.invoke(cli.app, ["worker"])

    assert result.exit_code == 0, result.output
    assert [(each["REDIS_URL"], each["SEGUE_SETTLE_S"]) for each in run] == [(REDIS, "0.05")]


def test_ingest_runs_with_the_variables_of_the_up(
    store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    queue_of(store, "demo", cooldown_ms=50, limit=1_000_000)
    record_up(tmp_path, SEGUE_SETTLE_S="0.05")
    run: list[Any] = []
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(uvicorn, "run", lambda app, **_: run.append(import_from_string(app)()))
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the handlers of this process stay

    result = runner.invoke(cli.app, ["ingest"])

    assert result.exit_code == 0, result.output
    (ingest,) = run
    assert (ingest._settings.redis_url, ingest._settings.settle_s) == (REDIS, 0.05)


def test_a_process_may_start_while_redis_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    run: list[Any] = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **_: run.append(app))

    assert runner.invoke(cli.app, ["ingest"]).exit_code == 0
    assert len(run) == 1


@pytest.mark.parametrize("command", [["check"], ["test", "event.json"]])
def test_check_and_test_use_the_configuration_of_the_up(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "segue.toml"
    file.write_text(f"[destinations.journeys]\n{CREDENTIALS_TOML}")
    (tmp_path / "event.json").write_text('{"type": "identify", "userId": "42", "traits": {}}')
    record_up(tmp_path, SEGUE_CONFIG=str(file))
    monkeypatch.chdir(tmp_path)

    result = runner.invoke(cli.app, command)

    assert result.exit_code == 0, result.output
    assert "journeys" in result.stdout
    assert "demo" not in result.stdout
