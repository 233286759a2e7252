"""How `make test` distributes tests among its workers."""

from __future__ import annotations

import pytest

from tests.conftest import LARGE, SHARING, Grouped, group_of
from tests.packages import ROOT


def test_the_paths_of_groups_exist() -> None:
    assert [path for path in (*LARGE, *SHARING) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/console/test_live.py::test_a", "large"),
        ("tests/e2e/test_rate.py::test_a[b::c]", "large"),
        ("tests/e2e/test_up.py::test_a", "tests/e2e/test_up.py"),
        ("tests/e2e/test_order.py::test_a[b]", "tests/e2e/test_order.py::test_a[b]"),
    ],
)
def test_large_tests_and_those_that_share_processes_are_groups(nodeid: str, group: str) -> None:
    assert group_of(nodeid) == group
    assert Grouped.__new__(Grouped)._split_scope(nodeid) == group
