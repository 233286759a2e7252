"""`segue pause`, `segue resume` and `segue rate`, run in this process over fakeredis."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner, Result

from console import cli

CONFIG = """
[destinations.demo]
site_id = "s"
api_key = "k"
[destinations.demo.delivery]
requests_per_s = 40
"""


@pytest.fixture(autouse=True)
def store(store: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> redis.Redis:
    (tmp_path / "segue.toml").write_text(CONFIG)
    monkeypatch.setenv("SEGUE_CONFIG", str(tmp_path / "segue.toml"))
    return store


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def operator() -> dict[str, dict[str, object] | None]:
    row: dict[str, dict[str, object] | None] = json.loads(run("status", "--json").stdout)["destinations"][0]["operator"]
    return row


def test_a_pause_has_a_reason_and_an_end_and_resume_ends_it() -> None:
    assert "Missing option '--why'" in run("pause", "demo").output
    assert run("pause", "demo", "--until", "1h", "--why", "upgrade").stdout.startswith("demo is paused until 20")
    pause = operator()["pause"]
    assert pause is not None
    assert (pause["why"], pause["until_ms"] is not None) == ("upgrade", True)
    assert "destination demo: paused by an operator" in run("status").stdout

    assert run("pause", "demo", "--why", "longer").stdout == "demo is paused until you end it\n"
    assert run("resume", "demo").stdout == "demo: the pause is ended\n"
    assert run("resume", "demo").stdout == "demo was not paused by an operator\n"
    assert operator() == {"pause": None, "rate": None}


def test_a_rate_is_set_for_a_time_and_ended() -> None:
    assert run("rate", "demo", "10", "--for", "2h").stdout.startswith("demo: at most 10 requests/s until 20")
    rate = operator()["rate"]
    assert rate is not None
    assert rate["requests_per_s"] == 10
    assert "at most 10 requests/s, set by " in " ".join(run("status").stdout.split())

    assert "--for needs a number" in str(run("rate", "demo", "--configured", "--for", "1h").exception)
    assert run("rate", "demo", "--configured").stdout == "demo: at most 40 requests/s, as configured\n"
    assert operator()["rate"] is None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("pause", "other", "--why", "w"), 'there is no destination "other"'),
        (("pause", "demo", "--why", " "), "--why is empty"),
        (("pause", "demo", "--why", "w", "--until", "2020-01-01"), "is past"),
        (("pause", "demo", "--why", "w", "--until", "soon"), "is not a time"),
        (("rate", "demo"), "give either a number"),
        (("rate", "demo", "5", "--configured"), "give either a number"),
        (("rate", "demo", "0"), "greater than or equal to 1"),
        (("rate", "demo", "5", "--for", "2030-01-01"), "is not a duration"),
    ],
)
def test_what_cannot_be_set_is_refused_and_changes_nothing(arguments: tuple[str, ...], text: str) -> None:
    result = run(*arguments)

    assert result.exit_code != 0
    assert text in " ".join((result.output + str(result.exception)).split())
    assert operator() == {"pause": None, "rate": None}
