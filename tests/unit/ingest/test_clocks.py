"""Clocks of devices: which `sentAt` shows a wrong clock, and which a late request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ingest.clocks import corrected, is_future

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("happened_s", "sent_s", "expected_s"),
    [
        (-5, -1, -5),  # the clock is right
        (-1, 1.5, -1),  # two right clocks may differ by this
        (40, 45, -5),  # no request arrives before it was sent
        (7195, 7200, -5),
        (-605, -600, -605),  # a batch that was sent again with its first `sentAt`
        (-3605, -3600, -3605),
        (-7205, -7200, -5),  # a clock in another zone
        (-86_400 * 5_000, -86_400 * 5_000 + 10, -10),  # a clock that was never set
        (-86_400 * 30, 7200, -86_400 * 30),  # history
    ],
)
def test_a_time_is_moved_by_the_error_of_the_clock(happened_s: float, sent_s: float, expected_s: float) -> None:
    assert corrected(at(happened_s), at(sent_s), NOW) == at(expected_s)


def test_two_requests_of_a_device_move_their_events_equally() -> None:
    sent_at = at(90)
    quick, slow = (corrected(at(80), sent_at, at(after)) for after in (0.02, 0.7))

    assert quick == slow == at(80 - 90)


def test_a_moved_time_stays_in_the_range_of_times() -> None:
    first = datetime(1, 1, 1, tzinfo=UTC)

    assert corrected(first, first + timedelta(days=1), first) == first


def test_a_time_after_the_receipt_is_future_beyond_the_tolerance() -> None:
    assert not is_future(at(2), NOW)
    assert is_future(at(2.001), NOW)
