"""Every promise names the tests that hold it, and they exist; its price and limits have a section."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| **")]
PROMISES = [row.split("**")[1] for row in ROWS]
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("row", ROWS, ids=PROMISES)
def test_a_promise_is_held_by_tests_that_exist(row: str) -> None:
    named = re.findall(r"`([^`]+)`", row.split(" | ")[-1])
    paths = [name for name in named if name.startswith(("tests/", "bench/"))]

    assert [name for name in named if name.startswith(("tests/", "test_", "make chaos"))]
    assert not [path for path in paths if not (ROOT / path).exists()]
    assert not [name for name in named if name.startswith("test_") and f"def {name}(" not in TESTS]


@pytest.mark.parametrize("row", ROWS, ids=PROMISES)
def test_a_promise_is_one_sentence(row: str) -> None:
    promise = row.split(" | ")[0].split("**")[2].strip()

    assert re.fullmatch(r"[^.]+(?:Customer\.io[^.]*)*\.", promise)


def test_every_promise_has_a_section_in_the_order_of_the_table() -> None:
    sections = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)

    assert sections[: len(PROMISES)] == [promise.rstrip(".") for promise in PROMISES]
