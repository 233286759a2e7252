"""`python -m bench.compare`: two checkouts in turns, judged by the unit of each figure."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench import compare

BENCHMARK = """
import json, os, pathlib, sys
log = pathlib.Path({log!r})
log.write_text((log.read_text() if log.exists() else "") + {side!r} + " " + " ".join(sys.argv[1:]) + "\\n")
values = json.loads(pathlib.Path("values").read_text())
pathlib.Path("values").write_text(json.dumps(values[1:]))
print("worker: Warm shutdown")
for name, unit, value in values[0]:
    print(json.dumps({{"bench": name, "value": value, "unit": unit}}))
"""
Rows = list[list[tuple[str, str, float]]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def checkout(directory: Path, log: Path, runs: Rows, *, is_package: bool = False) -> Path:
    """Make a checkout whose benchmark prints the figures of each run in turn."""
    (directory / ".venv" / "bin").mkdir(parents=True)
    (directory / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (directory / "bench").mkdir()
    (directory / "bench" / "lanes.py").write_text(BENCHMARK.format(log=str(log), side=directory.name))
    if is_package:
        (directory / "bench" / "__init__.py").touch()
    (directory / "values").write_text(json.dumps(runs))
    return directory


def result(
    tmp_path: Path,
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    old: Rows,
    new: Rows,
    name: str = "lanes",
) -> tuple[int, dict[str, dict[str, object]], str]:
    monkeypatch.setattr(compare, "ROOT", checkout(tmp_path / "new", log, new, is_package=True))
    code = compare.main([str(checkout(tmp_path / "old", log, old)), "--runs", str(len(old)), name])
    lines = capsys.readouterr().out.splitlines()
    rows = {row["bench"]: row for row in map(json.loads, (line for line in lines if line.startswith("{")))}
    return code, rows, "\n".join(line for line in lines if not line.startswith("{"))


def test_the_sides_take_turns_and_medians_are_compared(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old: Rows = [[("lanes.append", "events/s", value)] for value in (100, 120, 90)]
    new: Rows = [[("lanes.append", "events/s", value)] for value in (110, 99, 130)]

    code, rows, table = result(tmp_path, log, monkeypatch, capsys, old, new, "lanes rates life")

    assert log.read_text().splitlines() == ["old rates life", "new rates life"] * 3
    assert rows["lanes.append"] == {
        "bench": "lanes.append",
        "unit": "events/s",
        "better": "larger",
        "old": 100,
        "old_range": [90, 120],
        "new": 110,
        "new_range": [99, 130],
        "ratio": 1.1,
        "ratio_range": [0.825, 1.4444],
        "verdict": "better",
    }
    assert code == 0
    assert "lanes.append  events/s  100  110  1.100  0.825 to 1.44    better" in table


@pytest.mark.parametrize(
    ("unit", "old", "new", "verdict", "code"),
    [
        ("events/s", 100, 97, "worse", 1),
        ("events/s", 100, 99, "same", 0),
        ("redis_us/event", 100, 103, "worse", 1),
        ("redis_us/event", 100, 97, "better", 0),
        ("bytes/id", 100, 101, "same", 0),
        ("dead letters", 100, 200, "not judged", 0),
        ("s", 0, 1, "not judged", 0),
    ],
)
def test_more_than_two_percent_worse_is_a_failure(
    tmp_path: Path,
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    unit: str,
    old: float,
    new: float,
    verdict: str,
    code: int,
) -> None:
    got, rows, _ = result(tmp_path, log, monkeypatch, capsys, [[("a", unit, old)]], [[("a", unit, new)]])

    assert (rows["a"]["verdict"], got) == (verdict, code)


def test_figures_that_were_renamed_are_compared_and_others_are_missing(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old: Rows = [[("lanes.server.memory.neighbours", "bytes/waiting_event", 400), ("gone", "s", 1)]]
    new: Rows = [[("lanes.server.memory.shared", "bytes/waiting_event", 402), ("added", "s", 1)]]

    code, rows, _ = result(tmp_path, log, monkeypatch, capsys, old, new)

    assert {name: row["verdict"] for name, row in rows.items()} == {
        "lanes.server.memory.shared": "same",
        "added": "missing in old",
        "gone": "missing in new",
    }
    assert code == 0


def test_a_benchmark_that_fails_ends_the_comparison(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        result(tmp_path, log, monkeypatch, capsys, [[("a", "s", 1)]], [[("a", "s", 1)]], "absent")

    assert ended.value.code == 2
