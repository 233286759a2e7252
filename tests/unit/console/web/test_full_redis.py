"""A Redis that has reached its `maxmemory`: users sign in and see why, and are told what cannot be done now."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from typer.testing import CliRunner

from console import cli
from tests.conftest import RedisServer
from tests.unit.console.web.browsing import ID, Browser, fill, state_of


@pytest.fixture
def full(redis_server: RedisServer, redis_client: redis.Redis) -> Iterator[Browser]:
    """A browser of an operator who signs in while Redis is full."""
    fill(redis_client)
    Browser(state_of(redis_server.url), "viewer")  # the first console of all wrote the key of the sessions
    redis_client.config_set("maxmemory", 1)
    try:
        yield Browser(state_of(redis_server.url), "operator")
    finally:
        redis_client.config_set("maxmemory", 0)


@pytest.mark.parametrize(
    "path", ["/", "/people", "/dead", "/dead?view=list", "/dead/demo/1", "/destinations/demo", "/activity", "/about"]
)
def test_a_page_is_shown(full: Browser, path: str) -> None:
    assert full.get(path).status_code == 200


def test_what_is_recorded_alone_is_done(full: Browser) -> None:
    full.reveal()

    assert ID in full.get("/dead/demo/1").text
    assert [entry["act"] for entry in full.json("/activity")["audit"]] == ["reveal", "sign in", "sign in"]


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/destinations/demo/pause", {"why": "x"}),
        ("/replays/demo", {"reason": "rejected"}),
        ("/skip/demo", {"reason": "rejected", "count": "1"}),
    ],
)
def test_what_needs_memory_is_refused_as_such_and_is_not_recorded(
    full: Browser, path: str, form: dict[str, str]
) -> None:
    answer = full.post(path, **form)

    assert (answer.status_code, "Redis is full" in answer.text) == (507, True)
    assert {entry["act"] for entry in full.json("/activity")["audit"]} == {"sign in"}
    assert len(full.json("/dead?view=list")) == 2


@pytest.mark.usefixtures("full")
def test_a_command_says_that_redis_is_full(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    monkeypatch.setattr("sys.argv", ["segue", "pause", "demo", "--why", "x"])

    with pytest.raises(SystemExit):
        cli.main()

    assert capsys.readouterr().err.startswith("segue: Redis is full: it has reached its maxmemory")


@pytest.mark.usefixtures("full")
def test_the_status_is_shown(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server.url)

    result = CliRunner().invoke(cli.app, ["status"])

    assert result.exit_code == 0
    assert "events are refused from 1 byte on" in result.stdout
