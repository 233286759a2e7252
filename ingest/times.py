"""Times of clients: the formats in which libraries and exports write a time, read as an instant.

The common format is ISO 8601. The others are those of Java, Go, .NET and JavaScript, and numbers since 1970. What is
none of these is read as the reference reads it (`mapping.timestamps`), when it begins like a date. V8 takes any text
with a number in it for a date.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, Final

from mapping.javascript import WHITE_SPACE
from mapping.timestamps import event_milliseconds

_MAX_LENGTH: Final = 100  # JavaScript writes up to about 80 characters; some patterns below are slow on long texts
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
# The smallest number of each unit, and its length in microseconds. 1e11 s are in the year 5138, 1e11 ms in 1973.
_UNITS: Final = ((1e17, 0.001), (1e14, 1), (1e11, 1_000), (0, 1_000_000))

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
# `20160718`, `20160718123456` and `20160718123456789`. As times since 1970 the last two are after 2286.
_BASIC = re.compile(
    r"((?:1[89]|2[01])[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))"
    r"(?:((?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9])([0-9]{3})?)?",
    re.ASCII,
)
_DOTNET = re.compile(r"/Date\((-?[0-9]+)(?:[+-][0-9]{4})?\)/", re.ASCII)  # Unix milliseconds; the zone is for display
_ISO_DATE = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}", re.ASCII)
# A month or a day that no calendar has. JavaScript counts it on into the months around: MySQL's zero date would be in
# 1899, and the ordinal date `2016-005` in December 2015.
_NO_DATE = re.compile(r"[0-9]{4}[-/](?:(?:00|1[3-9]|[2-9][0-9])|[0-9]{1,2}[-/](?:00|3[2-9]|[4-9][0-9]))", re.ASCII)
# Java's zone in brackets; Go's name of the zone and its monotonic clock, both behind an offset.
_NOTES = re.compile(r"(?:\[[^\]]*\]|(?<=[+-][0-9]{4})(?:\s+(?!m=)\S+)?(?:\s+m=[+-][0-9.]+)?)$", re.ASCII)
_SPACE_BEFORE_ZONE = re.compile(r"\s+(?=(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})$)", re.ASCII)
_LEAP_SECOND = re.compile(r"([0-9]{4}-?[0-9]{2}-?[0-9]{2}[Tt ][0-9]{2}:?[0-9]{2}:?)60(?=[^0-9]|$)", re.ASCII)
_DATE_LIKE = re.compile(
    r"[0-9]|(?:mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b",
    re.ASCII | re.IGNORECASE,
)


def instant(value: Any) -> datetime | None:
    """Return the time in UTC; None when the value is no time.

    A text without a zone is UTC. A number is in seconds, milliseconds, microseconds or nanoseconds since 1970, by its
    size. The exception: its digits are a date (`20160718`), or a date and a time. 0 is no time. A leap second is the
    second after it.
    """
    kind = type(value)
    try:
        if kind is str:
            return (_of_iso(value) if value[4:5] == "-" else None) or _of_unusual(value.strip(WHITE_SPACE))
        if kind is int:
            return _of_digits(str(value), value)
        return _of_number(value) if kind is float else None
    except OverflowError:  # beyond the years 1 to 9999
        return None


def milliseconds(value: Any) -> int | None:
    """Return the time in Unix ms; None when the value is no time."""
    time = instant(value)
    return None if time is None else (time - _EPOCH) // _MILLISECOND


def iso(time: datetime) -> str:
    """Return a time in UTC as JavaScript writes it: `2026-01-05T12:00:00.000Z`."""
    return f"{time.isoformat(timespec='milliseconds')[:23]}Z"


def canonical(value: Any) -> datetime | None:
    """Return the time of a text as `iso` writes it; None for any other value. Most times are such texts."""
    if type(value) is str and len(value) == 24 and value[10] == "T" and value[19] == "." and value[23] == "Z":
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return None
    return None


def _of_iso(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is UTC:
            return time
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except ValueError:
        return None


def _of_unusual(text: str) -> datetime | None:
    if len(text) > _MAX_LENGTH:
        return None
    if dotnet := _DOTNET.fullmatch(text):
        return _after_epoch(int(dotnet[1]), 1_000)
    if _NUMBER.fullmatch(text):
        return _of_digits(text, float(text) if len(text) > 19 or not text.isdigit() else int(text))
    if _NO_DATE.match(text):
        return None
    if _ISO_DATE.match(text):
        plain = _SPACE_BEFORE_ZONE.sub("", _NOTES.sub("", text))
        ordinary, leaps = _LEAP_SECOND.subn(r"\g<1>59", plain)
        time = _of_iso(ordinary)
        if time is not None:
            return time + timedelta(seconds=leaps)
    milliseconds = event_milliseconds(text) if _DATE_LIKE.match(text) else None
    return None if milliseconds is None else _after_epoch(milliseconds, 1_000)


def _of_digits(text: str, number: int | float) -> datetime | None:
    """Return the time of a number, given its text too."""
    basic = _BASIC.fullmatch(text)
    if basic is None:
        return _of_number(number)
    date, time, fraction = basic.groups()
    return _of_iso(f"{date}T{time or '000000'}.{fraction or '000'}")


def _of_number(number: int | float) -> datetime | None:
    if not number or (type(number) is float and not isfinite(number)):
        return None
    return _after_epoch(number, next(length for least, length in _UNITS if abs(number) >= least))


def _after_epoch(count: int | float, microseconds: float) -> datetime:
    return _EPOCH + timedelta(microseconds=count * microseconds)
