"""Times as operators type them: a moment, or a duration before or after now.

`2026-01-05`, `2026-01-05T12:00` and `2026-01-05T12:00:00Z` are moments, in UTC without an offset. `90s`, `15m` and
`1h30m` are durations. Parsers return Unix milliseconds.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import typer

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_FORMS = "a time such as 2026-01-05T12:00 (UTC), or a duration such as 90s, 15m, 1h or 2d"
METAVAR = "TIME|DURATION"
_FIRST_MS = datetime.min.replace(tzinfo=UTC).timestamp() * 1000
_LAST_MS = datetime.max.replace(tzinfo=UTC).timestamp() * 1000 - 1
_SHOWN = 40  # characters of a text that is refused


def past(text: str) -> int:
    """Return a moment, or the moment so long ago. Raises typer.BadParameter."""
    length = _length_ms(text)
    return _moment(text) if length is None else _within(text, _now_ms() - length)


def future(text: str) -> int:
    """Return a moment to come, or the moment after so long. Raises typer.BadParameter, also for a past moment."""
    length = _length_ms(text)
    moment = _moment(text) if length is None else _within(text, _now_ms() + length)
    if moment <= _now_ms():
        raise typer.BadParameter(f"{text!r} is past")
    return moment


def after(text: str) -> int:
    """Return the moment after a duration. Raises typer.BadParameter."""
    length = _length_ms(text)
    if not length:
        raise typer.BadParameter(f"{text!r} is not a duration such as 90s, 15m, 1h or 2d")
    return _within(text, _now_ms() + length)


def _length_ms(text: str) -> float | None:
    """Return the length of a duration, which may be infinite; None: it is none."""
    lower = text.strip().lower()
    if not lower or _PART.sub("", lower):
        return None
    return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(lower)) * 1000


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not {_FORMS}") from None
    return _within(text, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _within(text: str, moment_ms: float) -> int:
    """Return a moment that can be written as a date. Raises typer.BadParameter: it is before or after all of these."""
    if not _FIRST_MS <= moment_ms <= _LAST_MS:
        raise typer.BadParameter(f"{text[:_SHOWN]!r} is not between the years 1 and 9999")
    return round(moment_ms)


def _now_ms() -> int:
    return int(time.time() * 1000)
