"""`segue shadow report` over a ledger that has nothing to report."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from console import cli
from tests.conftest import RedisServer
from tests.queues import queue_of
from tests.secrets import CREDENTIALS_TOML


def test_a_report_of_nothing_is_not_clean(
    redis_server: RedisServer, redis_client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that waits for a clean report must not take the absence of a ledger for one."""
    file = tmp_path / "segue.toml"
    file.write_text(f'[destinations.next]\nmode = "shadow"\n{CREDENTIALS_TOML}')
    for name, value in (("REDIS_URL", redis_server.url), ("SEGUE_CONFIG", file), ("SEGUE_LEDGER_DIR", tmp_path / "l")):
        monkeypatch.setenv(name, str(value))
    queue_of(redis_client, "next")

    shown = CliRunner().invoke(cli.app, ["shadow", "report"])

    assert shown.exit_code == 1
    assert shown.stdout == "next: no row of the ledger; is `segue ledger` running?\n"
