"""Times as operators type them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import typer

from console import times

NOW_MS = 1_767_614_400_000  # 2026-01-05T12:00:00Z


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "_now_ms", lambda: NOW_MS)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", -90),
        ("15m", -900),
        ("1h", -3600),
        ("1H30m", -5400),
        ("0.5d", -43_200),
        ("2w", -14 * 86_400),
        ("2026-01-05T11:00", -3600),
        ("2026-01-05T11:00:00Z", -3600),
        ("2026-01-05 12:00:00+01:00", -3600),
        ("2026-01-05", -43_200),
    ],
)
def test_a_duration_is_before_now_and_a_time_is_itself(text: str, seconds: int) -> None:
    assert times.past(text) == NOW_MS + seconds * 1000


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("2026-01-05T13:00", 3600)])
def test_the_end_of_a_pause_is_after_now(text: str, seconds: int) -> None:
    assert times.future(text) == NOW_MS + seconds * 1000


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (times.past, "yesterday"),
        (times.past, "1h ago"),
        (times.past, ""),
        (times.future, "2026-01-05T11:00"),
        (times.future, "0s"),
        (times.after, "2026-01-05T13:00"),
        (times.after, "0m"),
    ],
)
def test_what_is_neither_is_refused(parse: Callable[[str], int], text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse(text)


@pytest.mark.parametrize("parse", [times.past, times.future, times.after])
@pytest.mark.parametrize("text", ["99999999d", "9" * 400 + "d", "9" * 30 + "s"], ids=["days", "infinite", "seconds"])
def test_a_duration_beyond_all_dates_is_refused(parse: Callable[[str], int], text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not between the years 1 and 9999"):
        parse(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00+05:00", "9999-12-31T23:59:59.999999-05:00"])
def test_a_moment_beyond_all_dates_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not between the years 1 and 9999"):
        times.past(text)
