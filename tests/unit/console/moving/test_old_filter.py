"""The filter of the old destination selects exactly the events that Segue sends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from console.moving.old_filter import drop_if, prefixes
from mapping.cutover import Cutover
from mapping.filters import parse_filter
from mapping.fql import parse

FIRST, LAST = datetime(2026, 1, 1), datetime(2099, 12, 31)
moments = st.datetimes(FIRST, LAST, timezones=st.just(UTC)).map(
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
)
near = st.builds(lambda at, ms: (at, at + timedelta(milliseconds=ms)), moments, st.integers(-100_000, 100_000))
pairs = st.one_of(st.tuples(moments, moments), near)


def text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ms(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@given(pairs)
def test_an_event_is_dropped_by_one_and_sent_by_the_other(pair: tuple[datetime, datetime]) -> None:
    moment, received = pair
    cutover = Cutover(ms(moment))
    event = {"type": "track", "event": "x", "receivedAt": text(received)}

    assert parse_filter(drop_if(cutover))(event) is not cutover.excludes(event, 0)


@given(pairs, st.integers(1, 10**9))
def test_the_way_back_is_a_second_moment(pair: tuple[datetime, datetime], length_ms: int) -> None:
    moment, received = pair
    cutover = Cutover(ms(moment), ms(moment) + length_ms)
    event = {"type": "track", "event": "x", "receivedAt": text(received)}

    assert parse_filter(drop_if(cutover))(event) is not cutover.excludes(event, 0)


def test_a_trigger_may_have_the_condition_too() -> None:
    condition = drop_if(Cutover(ms(datetime(2026, 12, 1, 10, tzinfo=UTC)))).replace("receivedAt", "properties.at")
    matches = parse(condition).predicate()

    assert [matches({"properties": {"at": at}}) for at in ("2026-12-01T09:59:59.999Z", "2026-12-01T10:00:00.000Z")] == [
        False,
        True,
    ]


def test_a_round_moment_has_few_patterns() -> None:
    decades = [f"20{digit}" for digit in range(3, 10)]

    assert prefixes(ms(datetime(2027, 1, 1, tzinfo=UTC))) == [*decades, "2028", "2029", "2027"]
    assert len(prefixes(ms(datetime(2026, 12, 1, 10, tzinfo=UTC)))) == 23
