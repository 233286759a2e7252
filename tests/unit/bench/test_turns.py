"""`python -m bench.turns`: rounds of two checkouts in turns, judged by the range of the median ratio."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import compare, turns


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [([1.1] * 9, "worse"), ([0.9] * 9, "better"), ([1.0, 1.01] * 5, "same"), ([0.9, 1.1] * 5, "same")],
)
def test_a_difference_counts_when_all_of_its_range_is_beyond_two_percent(ratios: list[float], verdict: str) -> None:
    rows = list(turns.compared("shared", [((20.0, 10.0), (20.0 * ratio, 10.0 * ratio)) for ratio in ratios]))

    assert [row["bench"] for row in rows] == ["turns.shared", "turns.shared.append", "turns.shared.claim_and_settle"]
    assert [row["old"] for row in rows] == [30, 20, 10]
    assert {row["verdict"] for row in rows} == {verdict}


def test_rounds_run_in_two_checkouts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(turns, "EVENTS", 500)
    monkeypatch.setattr(turns, "WARM_UP_EVENTS", 500)

    assert turns.main([str(compare.ROOT), "--servers", "1"]) in (0, 1)

    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    rows = {row["bench"]: row for row in map(json.loads, lines)}
    assert len(rows) == 6
    assert all(row["old"] > 0 and row["new"] > 0 for row in rows.values())


def test_a_checkout_that_is_not_installed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        turns.main([str(tmp_path)])

    assert "run `make install` there" in capsys.readouterr().err
