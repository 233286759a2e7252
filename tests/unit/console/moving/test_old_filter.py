"""The filter of the old destination selects exactly the events that Segue sends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.moving.old_filter import drop_if, patterns
from mapping.cutover import Cutover
from mapping.filters import parse_filter

LONGEST = 5000  # bytes, of a query
FIRST, LAST = datetime(2026, 1, 1), datetime(2099, 11, 30)
moments = st.datetimes(FIRST, LAST, timezones=st.just(UTC)).map(
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
)
first_moments = st.datetimes(FIRST, LAST, timezones=st.just(UTC)).flatmap(  # of a month, a day, an hour
    lambda at: st.sampled_from(
        [
            at.replace(day=1, hour=0, minute=0, second=0, microsecond=0),
            at.replace(hour=0, minute=0, second=0, microsecond=0),
            at.replace(minute=0, second=0, microsecond=0),
        ]
    )
)
spans = st.one_of(
    st.integers(-100_000, 100_000).map(lambda ms: timedelta(milliseconds=ms)),
    st.integers(-40 * 24, 40 * 24).map(lambda hours: timedelta(hours=hours)),
)
near = st.builds(lambda at, span: (at, at + span), st.one_of(moments, first_moments), spans)
pairs = st.one_of(st.tuples(moments, moments), near)


def text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ms(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@settings(deadline=None)
@given(pairs)
def test_an_event_is_dropped_by_one_and_sent_by_the_other(pair: tuple[datetime, datetime]) -> None:
    moment, received = pair
    cutover = Cutover(ms(moment))
    event = {"type": "track", "event": "x", "receivedAt": text(received)}

    assert parse_filter(drop_if(cutover))(event) is not cutover.excludes(event, 0)


@settings(deadline=None)
@given(pairs, st.integers(1, 10**9))
def test_the_way_back_is_a_second_moment(pair: tuple[datetime, datetime], length_ms: int) -> None:
    moment, received = pair
    cutover = Cutover(ms(moment), ms(moment) + length_ms)
    event = {"type": "track", "event": "x", "receivedAt": text(received)}

    assert parse_filter(drop_if(cutover))(event) is not cutover.excludes(event, 0)


@pytest.mark.parametrize("day", [datetime(2026, 12, day, tzinfo=UTC) for day in range(1, 32)])
def test_a_cutover_at_midnight_drops_nothing_of_the_days_before(day: datetime) -> None:
    parsed, cutover = parse_filter(drop_if(Cutover(ms(day)))), Cutover(ms(day))
    for hours in range(-32 * 24, 32 * 24):
        event = {"type": "track", "event": "x", "receivedAt": text(day + timedelta(hours=hours))}
        assert parsed(event) is not cutover.excludes(event, 0)


@pytest.mark.parametrize("month", range(1, 13))
def test_a_cutover_at_the_first_of_a_month_drops_nothing_of_the_months_before(month: int) -> None:
    first = datetime(2027, month, 1, tzinfo=UTC)
    parsed, cutover = parse_filter(drop_if(Cutover(ms(first)))), Cutover(ms(first))
    for days in range(-400, 400):
        event = {"type": "track", "event": "x", "receivedAt": text(first + timedelta(days=days))}
        assert parsed(event) is not cutover.excludes(event, 0)


def test_a_round_moment_has_few_patterns() -> None:
    assert patterns(ms(datetime(2027, 1, 1, tzinfo=UTC))) == ["20[3-9]", "202[8-9]", "2027"]
    assert patterns(ms(datetime(2026, 12, 1, 10, tzinfo=UTC))) == [
        "20[3-9]",
        "202[7-9]",
        "2026-1[3-9]",
        "2026-12-[1-3]",
        "2026-12-0[2-9]",
        "2026-12-01T2",
        "2026-12-01T1",
    ]


@settings(deadline=None)
@given(moments, moments)
def test_the_condition_fits_into_a_filter_of_segment(moment: datetime, other: datetime) -> None:
    first, second = sorted((ms(moment), ms(other)))

    assert len(drop_if(Cutover(first, second + 1))) < LONGEST
