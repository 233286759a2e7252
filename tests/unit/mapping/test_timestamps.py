"""Dates to Unix seconds: strict for attributes, lenient for the time of an event."""

from __future__ import annotations

from typing import Any

import pytest

from mapping.timestamps import attribute_seconds, event_time, is_date_like, with_dates_converted

AT = 1709634030  # 2024-03-05T10:20:30Z


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-05T10:20:30Z",
        "2024-03-05T10:20:30.999Z",
        "2024-03-05T10:20:30.123456789Z",
        "2024-03-05T12:20:30+02:00",
        "2024-03-05T12:20:30+0200",
        "2024-03-05T10:20:30",
    ],
)
def test_every_iso_shape_has_the_same_seconds(text: str) -> None:
    assert attribute_seconds(text) == AT
    assert event_time(text) == AT


@pytest.mark.parametrize(
    "text", ["", "2024", "2024-03", "20240305", "2024/03/05", "2024-03-05 10:20:30", "2024-13-01", "2024-03-05T25:00Z"]
)
def test_an_attribute_that_is_not_an_iso_date_is_unchanged(text: str) -> None:
    assert attribute_seconds(text) is None


def test_february_the_thirtieth_is_the_first_of_march() -> None:
    assert attribute_seconds("2024-02-30") == attribute_seconds("2024-03-01")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1969-12-31T23:59:59.999Z", -1),
        ("0001-01-01T00:00:00Z", -62135596800),
        ("9999-12-31T23:59:59.999999Z", 253402300799),
        ("2500-01-01T00:00:00.999999999Z", 16725225600),
        ("2499-12-31T23:59:59.999999Z", 16725225599),
    ],
)
def test_fractions_are_truncated_in_every_year(text: str, seconds: int) -> None:
    assert attribute_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("Mar 5 2024", 1709596800), ("2024-13-01", 1735689600), ("2024/03/05", 1709596800)]
)
def test_the_time_of_an_event_may_be_any_date_of_javascript(text: str, seconds: int) -> None:
    assert event_time(text) == seconds


@pytest.mark.parametrize("value", ["1709634030", "1709634030.5", "no date", 5, None, ""])
def test_digits_and_other_values_are_unchanged(value: Any) -> None:
    assert event_time(value) == value


@pytest.mark.parametrize(
    ("text", "fits"), [("2024", True), ("1e21", False), ("2024-03-05", True), ("soon", False), ("", False)]
)
def test_a_datetime_field_accepts_numbers_and_dates(text: str, fits: bool) -> None:
    assert is_date_like(text) is fits


def test_dates_are_converted_in_nested_objects_but_not_in_lists() -> None:
    given = {"at": "2024-03-05T10:20:30Z", "in": {"at": "2024-03-05T10:20:30Z"}, "list": ["2024-03-05"], "n": 1}
    assert with_dates_converted(given) == {"at": AT, "in": {"at": AT}, "list": ["2024-03-05"], "n": 1}
    assert given["at"] == "2024-03-05T10:20:30Z"
