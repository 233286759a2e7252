"""Figures as they are read from the output of a benchmark, and what is better for each unit."""

from __future__ import annotations

import pytest

from bench.support.figures import Figure, better, range_text, read, text


@pytest.mark.parametrize(
    ("unit", "direction"),
    [
        ("events/s", "larger"),
        ("requests/s", "larger"),
        ("operations/request", "larger"),
        ("us/event", "smaller"),
        ("redis_us/event", "smaller"),
        ("redis_ms", "smaller"),
        ("ms", "smaller"),
        ("s", "smaller"),
        ("MB", "smaller"),
        ("bytes/waiting_event", "smaller"),
        ("bytes/id", "smaller"),
        ("operations", "smaller"),
        ("requests", None),
        ("dead letters", None),
    ],
)
def test_the_unit_says_what_is_better(unit: str, direction: str | None) -> None:
    assert better(unit) == direction


def test_lines_that_are_no_figures_are_ignored_and_repeated_figures_are_their_median() -> None:
    lines = [
        "worker: Warm shutdown (MainProcess)",
        '{"bench": "a", "value": 3, "unit": "s", "baseline": 6, "ratio": 0.5}',
        '{"bench": "a", "value": 1, "unit": "s", "baseline": 4, "ratio": 0.25}',
        '{"bench": "a", "value": 2, "unit": "s", "baseline": 5, "ratio": 0.4}',
        '{"bench": "b", "value": 7, "unit": "ms"}',
    ]

    assert read(lines) == {"a": Figure("a", 2, "s", 5), "b": Figure("b", 7, "ms")}


def test_values_have_three_significant_digits() -> None:
    assert [text(value) for value in (0.12345, 1.2345, 12.345, 123.45, 1234.5, 12345.6)] == [
        "0.123",
        "1.23",
        "12.3",
        "123",
        "1,230",
        "12,300",
    ]
    assert range_text([24_910, 23_260, 26_290]) == "23,300 to 26,300"
    assert range_text([5, 5.001]) == "5"
