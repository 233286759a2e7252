"""The process of `segue console`: its start, its configuration, and the tokens that it prints."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import redis
from typer.testing import CliRunner

from console import cli
from console.errors import CommandError
from console.local import health
from console.session import Session
from console.web import process, tokens
from console.web.process import ReloadTask, name_of
from console.web.routes import ROUTES
from console.web.state import State
from lanes import configurations
from settings import Settings, SettingsError
from tests.conftest import RedisServer
from tests.pipeline import configuration, free_port, wait_until
from tests.unit.console.web.browsing import Browser, state_of

runner = CliRunner()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer) -> Path:
    path = tmp_path / "segue.toml"
    path.write_text(configuration("first"))
    monkeypatch.setenv("SEGUE_CONFIG", str(path))
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    return path


def test_a_changed_file_is_loaded_on_request(redis_client: redis.Redis, file: Path) -> None:
    task = ReloadTask(State(Session(Settings.load(), {})))
    task.follow()
    assert list(task.state.session.destinations) == ["first"]
    file.write_text(configuration("second"))

    task.follow()
    assert list(task.state.session.destinations) == ["first"], "nothing was requested"
    configurations.request_load(redis_client)
    task.follow()

    assert list(task.state.session.destinations) == ["second"]
    (process,) = configurations.running(redis_client)
    assert (process.name, process.fault) == (name_of(os.getpid()), None)


def test_a_wrong_file_changes_nothing(redis_client: redis.Redis, file: Path) -> None:
    task = ReloadTask(State(Session(Settings.load(), {})))
    file.write_text("[destinations.first]\n")
    task.signalled.set()

    task.follow()

    (process,) = configurations.running(redis_client)
    assert process.fault
    assert list(task.state.session.destinations) == ["first"]


@pytest.mark.parametrize("text", ["[destinations.first\n", ""], ids=["no TOML", "no destination"])
def test_the_pages_go_on_when_the_file_gets_a_fault(
    redis_server: RedisServer, redis_client: redis.Redis, file: Path, text: str
) -> None:
    redis_client.ping()
    browser = Browser(state_of(redis_server.url), "admin")
    file.write_text(text)

    for rule in ROUTES:
        if rule.method == "GET" and "{" not in rule.path and rule.page is not None:
            assert browser.get(rule.path).status_code in (200, 404), rule.path
    for path in ("/destinations/first", "/destinations/first/workbench"):
        assert browser.get(path).status_code == 200
    assert browser.post("/destinations/first/workbench", toml="").status_code == 200
    assert browser.post("/tester", event='{"type": "track", "event": "x", "userId": "1"}').status_code == 200
    assert browser.post("/people", person="m1", kind="message").status_code == 200


def test_a_file_that_no_process_can_load_is_told(
    redis_server: RedisServer, redis_client: redis.Redis, file: Path
) -> None:
    redis_client.ping()
    browser = Browser(state_of(redis_server.url), "viewer")
    file.write_text("[destinations.first\n")

    faults = [cause["text"] for cause in browser.json("/")["causes"] if cause["command"] == "segue check"]

    assert [fault.partition(": ")[0] for fault in faults] == [
        "The configuration file has a fault, and no process can load it"
    ]


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"SEGUE_CONSOLE_HOST": "console.invalid"}, "console.invalid: .*; set SEGUE_CONSOLE_HOST to another address"),
        ({"SEGUE_CONSOLE_HOST": "192.0.2.1"}, "192.0.2.1: .*; set SEGUE_CONSOLE_HOST to another address"),
        ({}, "port .* of 127.0.0.1: Address already in use; set SEGUE_CONSOLE_PORT to another one"),
    ],
    ids=["no such name", "address of another machine", "port in use"],
)
@pytest.mark.usefixtures("file")
def test_the_setting_is_named_when_it_cannot_listen(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], fault: str
) -> None:
    _, entry = tokens.make("viewer")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for name, value in {
            "SEGUE_CONSOLE_PORT": port,
            "SEGUE_CONSOLE_AUTH": "tokens",
            "SEGUE_CONSOLE_TOKENS": entry,
            **variables,
        }.items():
            monkeypatch.setenv(name, value)

        with pytest.raises(CommandError, match=fault):
            process.run(Session(Settings.load(), {}))


@pytest.mark.usefixtures("redis_client", "file")
def test_connections_that_send_nothing_take_the_console_from_no_one() -> None:
    port = free_port()
    environment = os.environ | {"SEGUE_CONSOLE_PORT": str(port)}
    with ExitStack() as opened:
        process = opened.enter_context(
            subprocess.Popen([sys.executable, "-m", "console.cli", "console"], env=environment, stderr=-1)
        )
        opened.callback(process.terminate)
        settings, client = Settings(console_port=port), redis.Redis()
        wait_until(lambda: health.fault("console", settings, client) is None, "the console answers")
        for _ in range(210):
            opened.enter_context(socket.create_connection(("127.0.0.1", port)))

        assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200


@pytest.mark.usefixtures("redis_client", "file")
def test_an_unfinished_head_ends_its_connection_and_a_long_import_does_not() -> None:
    port = free_port()
    environment = os.environ | {"SEGUE_CONSOLE_PORT": str(port)}
    with subprocess.Popen([sys.executable, "-m", "console.cli", "console"], env=environment, stderr=-1) as process:
        try:
            settings, client = Settings(console_port=port), redis.Redis()
            wait_until(lambda: health.fault("console", settings, client) is None, "the console answers")
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as long:
                own = {"Sec-Fetch-Site": "same-origin"}
                answer = long.post("/import", files={"file": ("f", b"x" * 7_000_000)}, headers=own)
                assert answer.status_code != 413, "an import is longer than a request of ingest"
            with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
                slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
                assert slow.recv(100).startswith(b"HTTP/1.1 408")
        finally:
            process.terminate()


@pytest.mark.usefixtures("redis_client", "file")
def test_the_process_serves_and_ends_on_sigterm() -> None:
    port = free_port()
    environment = os.environ | {"SEGUE_CONSOLE_PORT": str(port)}
    with subprocess.Popen([sys.executable, "-m", "console.cli", "console"], env=environment, stderr=-1) as process:
        try:
            settings = Settings(console_port=port)
            client = redis.Redis()
            wait_until(lambda: health.fault("console", settings, client) is None, "the console answers")
            assert httpx.get(f"http://127.0.0.1:{port}/about").status_code == 200
            with httpx.stream("GET", f"http://127.0.0.1:{port}/live", headers={"Accept": "text/event-stream"}) as tail:
                lines = tail.iter_lines()
                assert next(lines).startswith("id: ")
                process.send_signal(signal.SIGTERM)
                assert [*lines][-1] == "", "the stream ends, and is not cut"
        finally:
            process.send_signal(signal.SIGTERM)
            _, written = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"process_started" in written
    assert b"process_stopped" in written
    assert b"Traceback" not in written
    assert b"graceful" not in written


def test_a_token_is_printed_once_and_its_entry_knows_it() -> None:
    result = runner.invoke(cli.app, ["console", "token", "operator"])

    entry, token = result.stdout.strip(), result.stderr.strip().rpartition(" ")[2]
    assert Settings(console_tokens=f"{entry}\n{tokens.make('viewer')[1]}").console_tokens
    assert tokens.entry_of(token, entry) == entry
    assert tokens.role_of(entry) == "operator"
    assert token not in entry


@pytest.mark.parametrize("entries", ["", "admin", "root:00:00", "admin:" + "0" * 32 + ":" + "g" * 64])
def test_a_wrong_entry_is_refused_without_being_shown(entries: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_CONSOLE_TOKENS", entries)

    with pytest.raises(SettingsError) as caught:
        Settings.load()

    assert "SEGUE_CONSOLE_TOKENS: must be entries" in str(caught.value)
    assert "g" * 64 not in str(caught.value)


def test_the_console_refuses_to_be_open(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("console", "up"):
        monkeypatch.setenv("SEGUE_CONSOLE_HOST", "0.0.0.0")
        monkeypatch.setattr(sys, "argv", ["segue", command])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 2
        assert "open to everyone who reaches 0.0.0.0" in capsys.readouterr().err
