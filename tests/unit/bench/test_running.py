"""Benchmarks run as modules and by path; `python -m bench` knows them all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import NAMES, ROOT

NOT_BENCHMARKS = {"__init__", "__main__", "bench", "compare", "report", "turns"}


def test_every_benchmark_is_in_the_list() -> None:
    files = {path.stem for path in (ROOT / "bench").glob("*.py")}

    assert files - NOT_BENCHMARKS == set(NAMES)


@pytest.mark.parametrize("command", [("-m", "bench.lanes"), ("bench/lanes.py",), (str(ROOT / "bench" / "lanes.py"),)])
def test_a_benchmark_runs_as_a_module_and_by_path(command: tuple[str, ...]) -> None:
    """Outside scripts call them by path, where the folder has files named after the packages that they measure."""
    directory = Path("/") if command[0].startswith("/") else ROOT

    done = subprocess.run(
        [sys.executable, *command, "no-such-part"], cwd=directory, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "there is no part no-such-part; there are rates" in done.stderr


def test_a_benchmark_that_is_unknown_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "lane"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "there is no benchmark lane" in done.stderr
