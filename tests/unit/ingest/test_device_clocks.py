"""Clocks of devices: which `sentAt` shows a wrong clock, and which a late request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ingest.device_clocks import DeviceClocks, corrected, is_future

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
DAY_S = 86_400


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def errors(*requests: tuple[float, float]) -> list[float]:
    """Return the error in seconds after each request of one client, given as its `sentAt` and its receipt."""
    clocks = DeviceClocks()
    return [clocks.error("c", at(sent), at(received)).total_seconds() for sent, received in requests]


@pytest.mark.parametrize(
    ("sent_s", "error_s"),
    [
        (-1, 0),
        (1.5, 0),  # two right clocks may differ by this
        (45, -45),  # no request arrives before it was sent
        (7200, -7200),
        (-45, 0),
        (-600, 0),  # a batch that was sent again with its first `sentAt`
        (-3600, 0),
        (-7200, 7200),  # a clock in another zone
        (-5000 * DAY_S, 5000 * DAY_S),  # a clock that was never set
    ],
)
def test_the_clock_of_a_client_that_is_not_known(sent_s: float, error_s: float) -> None:
    assert errors((sent_s, 0)) == [error_s]


@pytest.mark.parametrize("late_s", [3, 45, 600, 3 * 3600, 2 * DAY_S])
def test_a_client_whose_clock_was_right_before_is_late(late_s: float) -> None:
    assert errors((0, 0.1), (10, 10 + late_s), (10 + late_s, 10.1 + late_s)) == [0, 0, 0]


@pytest.mark.parametrize("behind_s", [5, 45, 600, 3000])
def test_two_requests_that_are_as_late_show_a_clock_that_is_behind(behind_s: float) -> None:
    requests = [(sent - behind_s, sent + duration) for sent, duration in ((0, 0.5), (6, 0.1), (7, 1.2), (8, 500))]

    assert errors(*requests) == pytest.approx([0, behind_s + 0.1, behind_s + 0.1, behind_s + 0.1])


def test_requests_that_waited_for_the_end_of_an_outage_are_late() -> None:
    waited = [(-600, 0), (-570, 0.1), (-540, 0.2), (-539.9, 0.2), (-2, 0.3)]

    assert errors(*waited) == [0, 0, 0, 0, 0]


def test_a_clock_that_is_ahead_has_one_error_for_all_requests() -> None:
    assert errors((90, 0.02), (90.5, 1.2), (95, 5.01)) == [-89.98, -89.98, -89.98]


def test_a_clock_that_was_set_is_judged_anew() -> None:
    assert errors((7200, 0), (10, 10.1), (10, 700)) == [-7200, 0, 0]
    assert errors((-7200, 0), (-7190, 10), (20, 20.1)) == [7200, 7200, 0]
    assert errors((0, 0), (3600, 10)) == [0, -3590]


def test_clients_are_judged_by_their_own_requests() -> None:
    clocks = DeviceClocks()
    clocks.error("right", NOW, NOW)

    assert clocks.error("right", at(-7200), NOW) == timedelta(0)
    assert clocks.error("unknown", at(-7200), NOW) == timedelta(hours=2)


def test_too_many_clients_are_forgotten() -> None:
    clocks = DeviceClocks(max_clients=2)
    for client in ("a", "b", "c"):
        clocks.error(client, NOW, NOW)

    assert clocks.error("c", at(-7200), NOW) == timedelta(0)
    assert clocks.error("a", at(-7200), NOW) == timedelta(hours=2)


@pytest.mark.parametrize(
    ("happened_s", "sent_s", "error_s", "expected_s"),
    [
        (-5, -1, 0, -5),
        (7195, 7200, -7200, -5),
        (7195, 7200, -7199.98, -5),  # whole seconds
        (-7205, -7200, 7200.98, -5),
        (-30 * DAY_S, 7200, -7200, -30 * DAY_S),  # history
    ],
)
def test_a_time_is_moved_by_the_error_of_the_clock(
    happened_s: float, sent_s: float, error_s: float, expected_s: float
) -> None:
    assert corrected(at(happened_s), at(sent_s), timedelta(seconds=error_s)) == at(expected_s)


def test_a_moved_time_stays_in_the_range_of_times() -> None:
    first = datetime(1, 1, 1, tzinfo=UTC)

    assert corrected(first, first, timedelta(days=-1)) == first


def test_a_time_after_the_receipt_is_future_beyond_the_tolerance() -> None:
    assert not is_future(at(2), NOW)
    assert is_future(at(2.001), NOW)
