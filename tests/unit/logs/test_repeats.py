"""Repeated lines are summed up: one line each 10 s for a cause, with a count."""

from __future__ import annotations

from typing import Any

from logs.repeats import INTERVAL_S, MOST_CAUSES, Repeats


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Summed:
    """Repeats with a clock that a test moves, and the lines that they wrote."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.lines: list[dict[str, Any]] = []
        self.repeats = Repeats(self.clock)

    def add(self, status: int, count: int = 1, **fields: Any) -> None:
        cause = {"status": status}
        self.repeats.add(lambda line: self.lines.append(dict(line)), "failed", cause, {**cause, **fields}, count)


def test_the_first_line_of_a_cause_is_written_at_once_and_the_others_with_a_count() -> None:
    summed = Summed()

    for number in range(5):
        summed.add(503, request=number)
    assert summed.lines == [{"status": 503, "request": 0, "count": 1}]

    summed.clock.now += INTERVAL_S - 0.1
    summed.repeats.flush()
    assert len(summed.lines) == 1
    summed.clock.now += 0.1
    summed.repeats.flush()

    assert summed.lines[1:] == [{"status": 503, "request": 4, "count": 4}]


def test_a_cause_that_goes_on_has_one_line_in_each_interval() -> None:
    summed = Summed()

    for _ in range(100):
        summed.add(503, count=2)
        summed.clock.now += 1
    summed.repeats.flush(all_at_once=True)

    assert [line["count"] for line in summed.lines] == [2, *[20] * 9, 18]


def test_causes_are_told_apart() -> None:
    summed = Summed()

    for status in (503, 429, 503):
        summed.add(status)

    assert [line["status"] for line in summed.lines] == [503, 429]


def test_a_cause_that_ended_is_forgotten_and_written_at_once_when_it_comes_back() -> None:
    summed = Summed()

    summed.add(503)
    summed.clock.now += INTERVAL_S
    summed.repeats.flush()
    summed.add(503)

    assert [line["count"] for line in summed.lines] == [1, 1]


def test_nothing_is_lost_at_the_end() -> None:
    summed = Summed()
    for _ in range(3):
        summed.add(503)

    summed.repeats.flush(all_at_once=True)

    assert sum(line["count"] for line in summed.lines) == 3


def test_causes_without_number_take_no_memory_without_bound() -> None:
    summed = Summed()

    for status in range(10 * MOST_CAUSES):
        summed.add(status)
    summed.repeats.flush(all_at_once=True)

    assert len(summed.lines) == MOST_CAUSES + 2
    assert summed.lines[-1] == {"status": "others", "count": 9 * MOST_CAUSES - 1}
