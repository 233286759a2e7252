"""How commands find the `segue up` of a data directory, and the refusal of a second one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from console.errors import CommandError
from console.local import running
from settings import Settings

UP = running.Running(os.getpid(), {"redis": 7}, {"ingest": 8080}, {"REDIS_URL": "redis://127.0.0.1:7777/0"})


@pytest.fixture(autouse=True)
def no_redis_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("SEGUE_DATA_DIR", str(tmp_path))


def test_without_an_up_there_is_nothing_to_join(tmp_path: Path) -> None:
    assert running.read(tmp_path) is None
    assert running.environment(Settings.load()) == {}


def test_a_command_joins_the_up_of_its_data_directory(tmp_path: Path) -> None:
    running.write(tmp_path, UP)

    assert running.read(tmp_path) == UP
    assert running.environment(Settings.load()) == UP.environment


def test_a_redis_url_in_the_environment_has_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running.write(tmp_path, UP)
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere:6379/0")

    assert running.environment(Settings.load()) == {}


def test_a_damaged_file_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text('{"pid": 1')

    assert running.read(tmp_path) is None


def test_a_second_up_is_refused_with_the_first_ones_process(tmp_path: Path) -> None:
    with running.locked(tmp_path):
        running.write(tmp_path, UP)
        with pytest.raises(CommandError, match=f"process {os.getpid()}.*SEGUE_DATA_DIR"), running.locked(tmp_path):
            pass

    assert running.read(tmp_path) is None, "the file is removed by the `up` that wrote it"
    with running.locked(tmp_path):
        pass


def test_the_processes_of_a_killed_up_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_gone(*_: int) -> None:
        raise ProcessLookupError

    with running.locked(tmp_path):
        running.write(tmp_path, UP)
        monkeypatch.setattr(os, "kill", is_gone)
        with pytest.raises(CommandError, match="end them with: kill 7"), running.locked(tmp_path):
            pass


@pytest.mark.parametrize(
    ("url", "joins"),
    [
        (None, True),
        ("redis://:secret@127.0.0.1:6380/0", True),
        ("redis://:secret@127.0.0.1:6381/0", False),
    ],
)
def test_a_command_joins_the_up_of_its_redis(
    url: str | None, joins: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record has no password, and a command that has one must not send to the real Customer.io."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    if url is not None:
        monkeypatch.setenv("REDIS_URL", url)
    recorded = {"REDIS_URL": "redis://127.0.0.1:6380/0", "SEGUE_TRACK_URL": "http://127.0.0.1:1"}
    running.write(tmp_path, running.Running(1, {}, {}, recorded))

    settings = Settings(data_dir=tmp_path)

    assert running.environment(settings) == (recorded if joins else {})
