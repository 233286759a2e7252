"""The filter that the old destination needs: it drops exactly the events that Segue sends.

Segment's filters compare numbers, not times. But a time in ISO 8601 is later than another one if it is greater as a
text, so a few patterns of its first characters select all later times.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from mapping.cutover import Cutover

# The first text of each length that a time can begin with: its end is that of the first moment of a year, a month, …
_FIRST = "0000-01-01T00:00:00.000Z"
_GREATEST = "9999-19-39T29:59:59.999Z"  # by position; patterns that no time has are harmless
_YEARS_AT = 2  # patterns are made for the decades of this century
_MONTH_AT = 6


def drop_if(cutover: Cutover) -> str:
    """Return the condition of Segment's filters that is true for the events that are sent, up to the year 2099."""
    sent = " or ".join(_match(cutover.by, prefix) for prefix in prefixes(cutover.at_ms))
    if cutover.until_ms == float("inf"):
        return sent
    not_sent = " and ".join(f"!{_match(cutover.by, prefix)}" for prefix in prefixes(cutover.until_ms))
    return f"({sent}) and {not_sent}"


def prefixes(moment_ms: float) -> list[str]:
    """Return how the texts of all times begin that are this one or later, from the latest to the earliest."""
    at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=moment_ms)
    moment = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    end = len(moment)
    while moment[end - 1 :] == _FIRST[end - 1 :]:
        end -= 1
    return [*_greater(moment, end), moment[:end]]


def _greater(moment: str, end: int) -> Iterator[str]:
    for at in range(_YEARS_AT, end):
        if moment[at].isdigit():
            greatest = "2" if at == _MONTH_AT and moment[at - 1] == "1" else _GREATEST[at]
            yield from (f"{moment[:at]}{digit}" for digit in range(int(moment[at]) + 1, int(greatest) + 1))


def _match(field: str, prefix: str) -> str:
    return f'match({field}, "{prefix}*")'
