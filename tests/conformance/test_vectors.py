"""Our results equal all recorded results of the reference."""

from __future__ import annotations

import pytest

from tests.conformance.suite import read, run_file
from tests.differential.variants import FILES, VECTORS


@pytest.mark.parametrize("file", FILES)
def test_our_results_equal_the_recorded_results(file: str) -> None:
    path = VECTORS / f"{file}.jsonl"

    report = run_file(path)

    assert report.failures == []
    assert report.passed + report.apart == sum(1 for _ in read(path))
    assert report.apart <= 1, "one vector reads a member that only JavaScript objects have"
