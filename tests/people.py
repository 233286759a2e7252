"""People of tests: their ids, addresses and names, in no line of the log (docs/operations.md)."""

from __future__ import annotations

import re
from mmap import mmap
from typing import Final

# A line as a process writes it, as text or as JSON, or as pytest shows it of the process of a test.
_LINES: Final = re.compile(
    rb"^(?:\d{4}-\d\d-\d\dT[\d:.]+Z \w+ [\w-]+\[\d+\] |\{\"timestamp\": |[A-Z]+ +segue:).*", re.MULTILINE
)
_PERSONAL: Final = re.compile(
    rb"""
    [\w.+-]+ (?: @ | %40 ) [\w.-]+
    | \b (?: ada | al | bob | eve | grace | jo | koval | mallory | mira | sue | tom ) \b
    | \b (?: customer | leaver | new | old | user | visitor ) (?: [ ] id )? [ ] \d+ \b
    | \b (?: 192\.0\.2 | 198\.51\.100 | 203\.0\.113 ) \. \d+ \b
    | \+ 1 -? 555 [\d-]+
    """,
    re.VERBOSE | re.IGNORECASE,
)


def lines_in(output: bytes | mmap) -> list[bytes]:
    """Return the lines of the log in an output."""
    return _LINES.findall(output)


def found_in(line: bytes) -> set[str]:
    """Return the personal values of tests in a line of the log."""
    return {match.group().decode(errors="replace") for match in _PERSONAL.finditer(line)}
