"""Fixtures: a receiver in place of ingest, and the command in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from console import cli
from tests.unit.console.send.receiver import Receiver

Send = Callable[..., tuple[int, str, str]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def send(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Send:
    """Run `segue send …` against the receiver; return its exit code, stdout and stderr."""
    for name in ("REDIS_URL", "SEGUE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.setpriority", lambda *_: None)  # of the process of the tests
    monkeypatch.setenv("SEGUE_DATA_DIR", str(tmp_path / "data"))

    def run(*arguments: object, rate: int = 1_000_000) -> tuple[int, str, str]:
        target = ["--url", receiver.url, "--write-key", "k", "--rate", str(rate)]
        monkeypatch.setattr(sys, "argv", ["segue", "send", *map(str, arguments), *target])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run
