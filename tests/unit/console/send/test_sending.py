"""How many events a request of history has."""

from __future__ import annotations

import pytest

from console.send.sending import batch_size


@pytest.mark.parametrize(
    ("rate", "size"), [(0.5, 1), (4, 4), (10, 10), (500, 10), (1500, 10), (3000, 20), (15_000, 100), (1e6, 100)]
)
def test_requests_are_small_unless_the_rate_needs_large_ones(rate: float, size: int) -> None:
    assert batch_size(rate) == size
