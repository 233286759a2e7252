"""Tests of this package are marked `clients`, and skipped with the reason where a client is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.needed import why_not


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.clients)


@pytest.fixture
def _node() -> None:
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture
def _chromium() -> None:
    if reason := why_not(browser=True):
        pytest.skip(reason)
