"""Dates to Unix seconds: strict parsing of attributes, lenient parsing of the time of an event.

Both follow the reference (customerio/utils.ts), which uses dayjs and V8. `javascript.dates` is V8's date parser. Times
without a zone are UTC.
"""

from __future__ import annotations

import re
from datetime import datetime
from math import floor
from typing import Any

from mapping.javascript import WHITE_SPACE, dates, number_text, to_number

# Only years in which a double represents seconds and microseconds exactly.
_COMMON = re.compile(r"(?:1[0-9]|2[0-4])\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_NUMERIC = re.compile(r"[0-9]+(?:\.[0-9]+)?")
# The shape that dayjs 1.10 parses itself, without the engine, unless the text ends in Z.
_DAYJS = re.compile(
    r"([0-9]{4})[-/]?([0-9]{1,2})?[-/]?([0-9]{0,2})"
    rf"[Tt{WHITE_SPACE}]*([0-9]{{1,2}})?:?([0-9]{{1,2}})?:?([0-9]{{1,2}})?[.:]?([0-9]+)?"
)


def attribute_seconds(value: str) -> int | None:
    """Return the Unix seconds of a valid date in one of the ISO shapes; None for all other texts."""
    if len(value) < 10 or value[4] != "-":
        return None
    seconds = _common_seconds(value)
    if seconds is not None:
        return seconds
    if _ISO.fullmatch(value) is None or dates.milliseconds(value) is None:
        return None
    return _dayjs_seconds(value)


def event_time(value: Any) -> Any:
    """Return the Unix seconds of a text that dayjs or V8 can parse; other values and digits unchanged."""
    if type(value) is not str:
        return value
    seconds = _common_seconds(value)
    if seconds is not None:
        return seconds
    if _NUMERIC.fullmatch(value):
        return value
    seconds = _dayjs_seconds(value)
    return value if seconds is None else seconds


def event_milliseconds(value: str) -> float | None:
    """Return the Unix milliseconds of a text that dayjs or V8 can parse; None for all other texts."""
    shape = None if value[-1:] in ("Z", "z") else _DAYJS.fullmatch(value)
    return dates.milliseconds(value) if shape is None else _shape_milliseconds(shape)


def is_date_like(value: str) -> bool:
    """Whether fields of type `datetime` accept the text: a number in JavaScript's form, or a date for dayjs."""
    number = to_number(value)
    if number_text(number) == value:
        return abs(number) <= dates.LARGEST_MS / 1000
    return _dayjs_seconds(value) is not None


def with_dates_converted(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return a copy with ISO dates as Unix seconds, in nested objects as well.

    Quirk of the reference: dates in lists are not converted.
    """
    converted = attributes.copy()
    for key, value in attributes.items():
        kind = type(value)
        if kind is str:
            if len(value) >= 10 and value[4] == "-" and (seconds := attribute_seconds(value)) is not None:
                converted[key] = seconds
        elif kind is dict:
            converted[key] = with_dates_converted(value)
    return converted


def _common_seconds(value: str) -> int | None:
    """Return the seconds of a date in the most common shapes (the quick way); None for all other texts."""
    as_javascript_writes_it = len(value) == 24 and value[4:20:3] == "--T::." and value[23] == "Z"
    return _seconds(value) if as_javascript_writes_it or _COMMON.fullmatch(value) else None


def _seconds(text: str) -> int | None:
    try:
        return floor(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return None


def _dayjs_seconds(value: str) -> int | None:
    milliseconds = event_milliseconds(value)
    return None if milliseconds is None else floor(milliseconds / 1000)


def _shape_milliseconds(shape: re.Match[str]) -> float | None:
    year, month, day, hour, minute, second, fraction = shape.groups()
    two_digit_century = 1900 if int(year) < 100 else 0
    return dates.utc_milliseconds(
        int(year) + two_digit_century,
        int(month) if month else 1,
        int(day) if day else 1,
        int(hour or 0),
        int(minute or 0),
        int(second or 0),
        int((fraction or "0")[:3]),
    )
