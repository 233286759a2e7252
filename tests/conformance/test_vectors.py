"""Every recorded answer of the reference is ours, by the comparison rules of vectors/README.md."""

from __future__ import annotations

import pytest

from tests.conformance.suite import read, run_file
from tests.differential.neighbours import FILES, VECTORS


@pytest.mark.parametrize("file", FILES)
def test_every_recorded_answer_is_ours(file: str) -> None:
    path = VECTORS / f"{file}.jsonl"

    report = run_file(path)

    assert report.failures == []
    assert report.passed + report.apart == sum(1 for _ in read(path))
    assert report.apart <= 1, "one case asks for a member that only JavaScript objects have"
