"""V8's `Date.parse`; the expected values are results of Node 20 in UTC."""

from __future__ import annotations

import pytest

from mapping.javascript import dates


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2024", 1704067200000),
        ("2024-03", 1709251200000),
        ("2024-03-05", 1709596800000),
        ("2024-03-05T10:20Z", 1709634000000),
        ("2024-03-05T10:20", 1709634000000),
        ("+002024-03-05T00:00:00Z", 1709596800000),
        ("-000001-01-01T00:00:00Z", -62198755200000),
        ("2024-12-31T24:00:00Z", 1735689600000),
        ("Mar 5 2024", 1709596800000),
        ("5 March 2024 10:20 PM", 1709677200000),
        ("Tue, 05 Mar 2024 10:20:30 GMT", 1709634030000),
        ("12/25/1995", 819849600000),
        ("garbage 12", 1007164800000),
        ("-5", 988675200000),
        ("2024-03-05 10:20:30", 1709634030000),
        ("1 Jan 49", 2493072000000),
        ("1 Jan 50", -631152000000),
        ("Mar 5 2024 (a (nested) comment) 10:00", 1709632800000),
        ("10:00 Mar 5 2024 PST", 1709661600000),
        ("Mar 5 2024 10:00 +0530", 1709613000000),
        ("Mar 5 2024 10:00:30.1239", 1709632830123),
        ("2024-2-30", 1709251200000),
        ("marching 5 2024", 1709596800000),
    ],
)
def test_dates_of_v8_are_parsed(text: str, milliseconds: int) -> None:
    assert dates.milliseconds(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "12 AM Mar 5 2024",
        "2024-03-05T25:00Z",
        "2024-13-01",
        "",
        "garbage",
        "Mar 5 2024 13:00 PM",
        "Mar 32 2024",
        "2024-03-05T10:60Z",
        "5 5 5 5",
        "-000000-01-01T00:00:00Z",
        "12 garbage",
    ],
)
def test_texts_that_v8_refuses_are_not_dates(text: str) -> None:
    assert dates.milliseconds(text) is None


def test_dates_out_of_the_range_of_javascript_are_not_dates() -> None:
    assert dates.utc_milliseconds(275760, 9, 13) == dates.LARGEST_MS
    assert dates.utc_milliseconds(275760, 9, 13, millisecond=1) is None
