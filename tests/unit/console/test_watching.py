"""`segue status --watch`: the last hour of each destination as lines of bars."""

from __future__ import annotations

import itertools

import pytest
import redis
from rich.console import Console
from typer.testing import CliRunner

from console import cli
from console.errors import CommandError
from console.state import trends
from lanes import keys
from series import sampling
from series.row import AT, FIGURES
from tests.queues import queue_of


def test_each_figure_has_bars_its_last_and_its_greatest_value(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, numbers = queue_of(redis_client, "demo"), itertools.count()
    empty = dict.fromkeys(FIGURES, 0.0)

    def figures(*_: object) -> dict[str, float]:
        number = next(numbers)
        return empty | {AT: 10.0 * number, "accepted": 10.0 * number, "waiting": 50.0 if number == 3 else 5.0}

    monkeypatch.setattr(sampling, "_figures", figures)
    for _ in range(8):
        queue.client.delete(keys.SAMPLED.of("demo"))
        sampling.sample(queue, 100, lambda: 1)

    lines = [line.plain for line in trends.charts(queue)]

    assert lines[0] == "accepted      ███████  1.0/s, at most 1.0/s"
    assert lines[2] == "waiting       ▂▂█▂▂▂▂  5.0, at most 50.0"


def test_without_rows_it_says_what_would_write_them(redis_client: redis.Redis) -> None:
    (line,) = trends.charts(queue_of(redis_client, "demo"))

    assert "workers write them each 10 s" in line.plain


def test_it_needs_a_terminal() -> None:
    result = CliRunner().invoke(cli.app, ["status", "--watch"])

    assert isinstance(result.exception, CommandError)
    assert "--watch needs a terminal" in str(result.exception)


def test_the_screen_fits_in_80_columns(redis_client: redis.Redis) -> None:
    shown = Console(width=80)
    with shown.capture() as capture:
        shown.print(*trends.charts(queue_of(redis_client, "demo")))

    assert all(len(line) <= 80 for line in capture.get().splitlines())
