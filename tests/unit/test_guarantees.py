"""Every promise names the tests that hold it, and they are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| **")]
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("row", ROWS, ids=[row.split("**")[1] for row in ROWS])
def test_a_promise_is_held_by_tests_that_exist(row: str) -> None:
    named = re.findall(r"`([^`]+)`", row.split(" | ")[-1])
    paths = [name for name in named if name.startswith(("tests/", "bench/"))]

    assert [name for name in named if name.startswith(("tests/", "test_", "make chaos"))]
    assert not [path for path in paths if not (ROOT / path).exists()]
    assert not [name for name in named if name.startswith("test_") and f"def {name}(" not in TESTS]
