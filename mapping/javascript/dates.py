"""V8's `Date.parse`, for dates that only V8 can parse (`garbage 12`, `Mar 25 2015`, `-5`).

Written from the rules in v8/src/date/dateparser.h. An ISO 8601 text is parsed as such. Other text is parsed token by
token (legacy): numbers are parts of the day; numbers before `:` or `.` are parts of the time; the first three letters
of a word name a month. Unknown words are ignored before the first number, text in parentheses everywhere. Times without
a zone are UTC here.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mapping.javascript.values import WHITE_SPACE

LARGEST_MS: Final = 8.64e15

_DAY_MS: Final = 86_400_000
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ZONES = {
    "ut": 0, "utc": 0, "z": 0, "gmt": 0,
    "cdt": -5, "cst": -6, "edt": -4, "est": -5, "mdt": -6, "mst": -7, "pdt": -7, "pst": -8,
}  # fmt: skip

_TOKEN = re.compile(
    rf"(?P<number>[0-9]+)|(?P<symbol>[:\-+.)])|(?P<space>[{WHITE_SPACE}])|(?P<word>[A-Za-z\[-`{{-\U0010ffff][^\x00-@{WHITE_SPACE}]*)|(?P<open>\()|(?P<unknown>.)",
    re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str

    @property
    def number(self) -> int:
        """The first nine significant digits, as in V8."""
        return int(self.text.lstrip("0")[:9] or 0)

    @property
    def word(self) -> str:
        """The word in lower case; empty for other tokens."""
        return self.text.lower() if self.kind == "word" else ""


_END = _Token("end", "")


def milliseconds(text: str) -> float | None:
    """Return the Unix milliseconds of a text that V8 parses as a date; None for other texts."""
    return _Reader(text).read()


def utc_milliseconds(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, millisecond: int = 0
) -> float | None:
    """Return the Unix milliseconds by MakeDay and MakeTime of ECMA-262; None if out of range.

    Months begin at 1. Values beyond the end of a month or a day continue in the next.
    """
    year += (month - 1) // 12
    days = _days_before_year_month(year, (month - 1) % 12) + day - 1
    total = days * _DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1000 + millisecond
    return None if abs(total) > LARGEST_MS else float(total)


def _days_before_year_month(year: int, month: int) -> int:
    """Return the days from 1970-01-01 to the first of a month (0 is January) in the proleptic Gregorian calendar."""
    shifted_year = year if month >= 2 else year - 1
    era, year_of_era = divmod(shifted_year, 400)
    day_of_year = (153 * ((month + 10) % 12) + 2) // 5
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


class _Reader:
    """The state of parsing a text: its tokens, and the parts of day, time and zone so far."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.position = 0
        self.day: list[int] = []
        self.named_month: int | None = None
        self.is_iso = False
        self.time: list[int] = []
        self.hour_offset: int | None = None
        self.sign: int | None = None
        self.zone_hour: int | None = None
        self.zone_minute: int | None = None

    def read(self) -> float | None:
        unread = self.iso()
        if unread is None or not self.legacy(unread):
            return None
        return self.total()

    def peek(self) -> _Token:
        return self.tokens[self.position] if self.position < len(self.tokens) else _END

    def next(self) -> _Token:
        token = self.peek()
        self.position += 1
        return token

    def skip(self, symbol: str) -> bool:
        token = self.peek()
        if token.kind != "symbol" or token.text != symbol:
            return False
        self.position += 1
        return True

    def is_fixed(self, digits: int, lowest: int = 0, highest: int = 999_999) -> bool:
        token = self.peek()
        return token.kind == "number" and len(token.text) == digits and lowest <= token.number <= highest

    def iso(self) -> _Token | None:
        """Read an ISO date; return the next token, _END if all are part of it; None for an invalid date."""
        if self.peek().text in ("+", "-"):
            sign = self.next()
            if not self.is_fixed(6) or (sign.text == "-" and self.peek().number == 0):
                if self.is_fixed(6):
                    self.next()
                return sign
            self.day.append(int(sign.text + str(self.next().number)))
        elif self.is_fixed(4):
            self.day.append(self.next().number)
        else:
            return self.next()
        if self.skip("-"):
            if not self.is_fixed(2, 1, 12):
                return self.next()
            self.day.append(self.next().number)
            if self.skip("-"):
                if not self.is_fixed(2, 1, 31):
                    return self.next()
                self.day.append(self.next().number)
        if self.peek().word != "t":
            if self.peek() is not _END:
                return self.next()
        elif not self.iso_time():
            return None
        if self.zone_hour is None and not self.time:
            self.sign, self.zone_hour, self.zone_minute = 1, 0, 0
        self.is_iso = True
        return _END

    def iso_time(self) -> bool:
        self.next()
        if not self.is_fixed(2, 0, 24):
            return False
        latest = 0 if self.peek().number == 24 else 59
        self.time.append(self.next().number)
        if not self.skip(":") or not self.is_fixed(2, 0, latest):
            return False
        self.time.append(self.next().number)
        if self.skip(":"):
            if not self.is_fixed(2, 0, latest):
                return False
            self.time.append(self.next().number)
            if self.skip("."):
                if self.peek().kind != "number" or (latest == 0 and self.peek().number > 0):
                    return False
                self.time.append(_thousandths(self.next()))
        return self.iso_zone() and self.peek() is _END

    def iso_zone(self) -> bool:
        if self.peek().word == "z":
            self.next()
            self.sign, self.zone_hour, self.zone_minute = 1, 0, 0
        elif self.peek().text in ("+", "-"):
            self.sign = -1 if self.next().text == "-" else 1
            if self.is_fixed(4):
                self.zone_hour, self.zone_minute = divmod(self.next().number, 100)
                return self.zone_hour <= 23 and self.zone_minute <= 59
            if not self.is_fixed(2, 0, 23):
                return False
            self.zone_hour = self.next().number
            if not self.skip(":") or not self.is_fixed(2, 0, 59):
                return False
            self.zone_minute = self.next().number
        return True

    def legacy(self, token: _Token) -> bool:
        """Read the tokens after the ISO part, `token` first; return whether they can be parts of a date."""
        has_read_number = bool(self.day)
        if token is _END:
            token = self.next()
        while token is not _END:
            if token.kind == "number":
                has_read_number = True
                if not self.number(token.number):
                    return False
            elif token.kind == "word":
                if not self.known_word(token.word, has_read_number) and (
                    has_read_number or self.peek().kind == "number"
                ):
                    return False
            elif token.text in ("+", "-") and (self.time or (self.zone_hour == 0 and self.zone_minute == 0)):
                has_read_number = True
                if not self.offset(token.text):
                    return False
            elif token.text in ("+", "-", ")") and has_read_number:
                return False
            token = self.next()
        return True

    def number(self, number: int) -> bool:
        if self.skip(":"):
            if self.skip(":"):
                if self.time:
                    return False
                self.time += [number, 0]
                return True
            if len(self.time) >= 4:
                return False
            self.time.append(number)
            self.skip(".")
            return True
        if self.skip_point_of_time(number):
            self.time.append(number)
            token = self.next()
            if token.kind != "number" or len(self.time) >= 4:
                return False
            self.end_time(_thousandths(token))
            return True
        if self.zone_hour is not None and self.zone_minute is None and number <= 59:
            self.zone_minute = number
            return True
        if self.expects_time(number):
            self.end_time(number)
            token = self.peek()
            return token is _END or token.kind == "space" or token.word == "z" or token.text in ("+", "-")
        if len(self.day) >= 3:
            return False
        self.day.append(number)
        self.skip("-")
        return True

    def skip_point_of_time(self, number: int) -> bool:
        return self.skip(".") and self.expects_time(number)

    def expects_time(self, number: int) -> bool:
        return (len(self.time) in (1, 2) and number <= 59) or (len(self.time) == 3 and number <= 999)

    def end_time(self, number: int) -> None:
        self.time = [*self.time, number, 0, 0, 0][:4]

    def known_word(self, word: str, has_read_number: bool) -> bool:
        if word in ("am", "pm") and self.time:
            self.hour_offset = 12 if word == "pm" else 0
        elif word[:3] in _MONTHS:
            self.named_month = _MONTHS.index(word[:3]) + 1
            self.skip("-")
        elif word in _ZONES and has_read_number:
            hours = _ZONES[word]
            self.sign, self.zone_hour, self.zone_minute = (-1 if hours < 0 else 1), abs(hours), 0
        else:
            return False
        return True

    def offset(self, sign: str) -> bool:
        self.sign = -1 if sign == "-" else 1
        digits, number = 0, 0
        if self.peek().kind == "number":
            digits, number = len(self.peek().text), self.next().number
        if self.peek().text == ":":
            self.zone_hour, self.zone_minute = number, None
        elif digits in (1, 2):
            self.zone_hour, self.zone_minute = number, 0
        elif digits in (3, 4):
            self.zone_hour, self.zone_minute = divmod(number, 100)
        else:
            return False
        return True

    def total(self) -> float | None:
        date = self.date()
        hour, minute, second, millisecond = [*self.time, 0, 0, 0, 0][:4]
        if date is None:
            return None
        if self.hour_offset is not None:
            if hour > 12:
                return None
            hour = hour % 12 + self.hour_offset
        midnight_after = (hour, minute, second, millisecond) == (24, 0, 0, 0)
        if not midnight_after and (hour > 23 or minute > 59 or second > 59 or millisecond > 999):
            return None
        offset = (self.sign or 0) * ((self.zone_hour or 0) * 60 + (self.zone_minute or 0))
        return utc_milliseconds(*date, hour, minute - offset, second, millisecond)

    def date(self) -> tuple[int, int, int] | None:
        if not self.day:
            return None
        first, second, third = [*self.day, 1, 1][:3]
        year, month, day = third, first, second
        if self.named_month is not None:
            month = self.named_month
            year, day = (second, first) if 1 <= first <= 31 else (first, second)
        elif self.is_iso or not 1 <= first <= 31:
            year, month, day = first, second, third
        if not self.is_iso and 0 <= year <= 99:
            year += 2000 if year <= 49 else 1900
        if not 1 <= month <= 12 or not 1 <= day <= 31:
            return None
        return year, month, day


def _tokens(text: str) -> list[_Token]:
    """Return the tokens of a text; text in parentheses, nested or unclosed, is an unknown token."""
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None
        position = match.end()
        kind = match.lastgroup or "unknown"
        if kind == "open":
            position = _after_parentheses(text, match.start())
            kind = "unknown"
        tokens.append(_Token(kind, match[0]))
    return tokens


def _after_parentheses(text: str, position: int) -> int:
    depth = 0
    while position < len(text):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        position += 1
        if depth == 0:
            break
    return position


def _thousandths(token: _Token) -> int:
    """Return the milliseconds of a fraction of a second: its first three digits."""
    return int(token.text[:3].ljust(3, "0"))
