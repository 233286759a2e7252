"""Which share of the events a live tail shows, and the command that prints it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner, Result

from console import cli
from console.live import commands, watching
from lanes import keys
from lanes.taps import streams
from lanes.taps.tap import EVENTS_PER_S, Tap
from mapping.envelope import pack

CONFIG = '[destinations.demo]\nsite_id = "s"\napi_key = "k"\n'
EVENT = {"type": "track", "event": "Order Placed", "userId": "42", "messageId": "m"}


@pytest.mark.parametrize(
    ("per_s", "every"), [(0, 1), (EVENTS_PER_S, 1), (EVENTS_PER_S + 1, 2), (4100, 512), (30_000, 2048)]
)
def test_the_share_is_a_power_of_two_and_fits_what_a_tap_takes(per_s: float, every: int) -> None:
    assert watching.every_of(per_s) == every
    assert per_s / every <= EVENTS_PER_S


@pytest.fixture
def store(store: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> redis.Redis:
    (tmp_path / "segue.toml").write_text(CONFIG)
    monkeypatch.setenv("SEGUE_CONFIG", str(tmp_path / "segue.toml"))
    return store


def run(monkeypatch: pytest.MonkeyPatch, client: redis.Redis, *arguments: str) -> Result:
    """Run `segue live`: after its first look an event is sent, after the second one the operator presses Control-C."""
    looks = iter([lambda: write(client), _interrupt])
    monkeypatch.setattr(commands, "time", type("Time", (), {"sleep": staticmethod(lambda _seconds: next(looks)())}))
    return CliRunner().invoke(cli.app, ["live", *arguments])


def _interrupt() -> None:
    raise KeyboardInterrupt


def write(client: redis.Redis) -> None:
    """Copy an event that was sent, as a worker does."""
    tap = Tap()
    streams.follow(tap, client)
    assert tap.is_watched
    now = int(time.time() * 1000)
    facts: dict[str, Any] = {"at_ms": now, "accepted_ms": now, "destination": "demo", "sequence": 7, "fate": "sent"}
    item = {"action": "trackEvent", "path": "/api/v2/entity", "outcome": "delivered", "reason": None, "unapplied": None}
    facts |= {"source": "web", "reason": "", "text": None, "worker": "w", "items": [item]}
    tap.add(facts, pack("web", EVENT), b"[{}]")
    streams.follow(tap, client)


def test_the_command_prints_what_passes_until_it_is_interrupted(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(monkeypatch, store)

    assert done.exit_code == 0
    assert done.stdout.endswith("web  track Order Placed  id:42  sent: trackEvent\n")
    assert done.stdout.count("\n") == 1
    assert "every event is shown" in done.stderr


def test_the_command_prints_json_of_what_its_options_choose(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = run(monkeypatch, store, "--json", "--person", "id:42", "--fate", "sent", "--type", "track")
    store.delete(keys.TAP_WORKERS.name)
    others = run(monkeypatch, store, "--json", "--source", "shop")

    row = json.loads(chosen.stdout)
    assert (row["sequence"], row["event"], row["actions"]) == (7, EVENT, ["trackEvent"])
    assert others.stdout == ""


def test_an_unknown_fate_or_destination_is_refused(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, store, "--fate", "gone").exit_code != 0
    assert run(monkeypatch, store, "--type", "gone").exit_code != 0
    assert run(monkeypatch, store, "--destination", "gone").exit_code != 0
