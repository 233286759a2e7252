"""The filter that the old destination needs: it drops exactly the events that Segue sends.

Segment's filters compare numbers, not times. But a time in ISO 8601 is later than another one if it is greater as a
text. So a few patterns of its first characters select all later times. The patterns have ranges, as `[2-9]`, which
filters have and triggers have not.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from mapping.cutover import Cutover

# The end of this text from any position on is that of the first moment of a year, a month, a day, …
_FIRST = "0000-01-01T00:00:00.000Z"
# The greatest digits by position. A pattern of a time that there is not, such as the month 13, is harmless.
_GREATEST = "9999-19-39T29:59:59.999Z"
# Where the second digits of the month and of the day are. November ends as January does, and begins as October does.
# The 11th, the 21st and the 31st are alike.
_SECOND_DIGITS = (6, 9)
_YEARS_AT = 2  # patterns are made for the decades of this century


def drop_if(cutover: Cutover) -> str:
    """Return the condition of Segment's filters that is true for the events that are sent, up to the year 2099."""
    sent = " or ".join(_match(cutover.by, pattern) for pattern in patterns(cutover.at_ms))
    if cutover.until_ms == float("inf"):
        return sent
    not_sent = " and ".join(f"!{_match(cutover.by, pattern)}" for pattern in patterns(cutover.until_ms))
    return f"({sent}) and {not_sent}"


def patterns(moment_ms: float) -> list[str]:
    """Return patterns for the beginnings of all times that are this one or later, from the latest to the earliest."""
    at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=moment_ms)
    moment = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    end = len(moment)
    while moment[end - 1 :] == _FIRST[end - 1 :]:
        end -= 1
    if end in _SECOND_DIGITS:
        end += 1
    return [*_greater(moment, end), moment[:end]]


def _greater(moment: str, end: int) -> Iterator[str]:
    for at in range(_YEARS_AT, end):
        if moment[at].isdigit():
            least, greatest = int(moment[at]) + 1, int(_GREATEST[at])
            if least <= greatest:
                yield moment[:at] + (f"{least}" if least == greatest else f"[{least}-{greatest}]")


def _match(field: str, pattern: str) -> str:
    return f'match({field}, "{pattern}*")'
