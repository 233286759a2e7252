"""How the commands print: one console, JSON for programs, and lists that are readable at 80 columns and at 40.

Texts of events and of Customer.io come from anyone. Neither Rich's markup nor its emoji codes apply to them, so that
`[b]` and `:apple:` in a name stay what they are. Characters on which a terminal acts are escaped as in JSON.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import orjson
from rich.console import Console, ConsoleDimensions, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from mapping.envelope import SAFE_LEVELS, encoded, has_more_levels

# Control characters but tab and line feed, those that change the direction of text, other ends of lines, and halves of
# characters, which no encoding has.
_ACTIVE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NARROWEST = 40  # columns


def safe(text: str) -> str:
    """Return the text with the characters on which a terminal acts as `\\u001b`; line feeds stay. JSON stays equal."""
    return _ACTIVE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def safe_line(text: str) -> str:
    """Return the text as `safe` does, with line feeds as `\\n`."""
    return safe(text).replace("\n", "\\n")


def _safe_text(text: Text) -> Text:
    """Return the text as `safe` does, with its styles."""
    result, at = text.blank_copy(), 0
    for match in _ACTIVE.finditer(text.plain):
        result.append_text(text[at : match.start()]).append(safe(match[0]))
        at = match.end()
    return result.append_text(text[at:]) if at else text


class SafeConsole(Console):
    """A console on which no text of an event acts, whatever table or list it is part of.

    It is as wide as the terminal, but not narrower than `_NARROWEST`: figures would be cut off. Some terminals say 0.
    """

    @property  # type: ignore[misc] # which no caller sets
    def size(self) -> ConsoleDimensions:
        """The columns and lines."""
        width, height = super().size
        return ConsoleDimensions(max(width, _NARROWEST), height)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of a renderable, with safe texts. They are made safe before they are laid out, since they
        become longer."""
        if isinstance(renderable, str):
            renderable = safe(renderable)
        elif isinstance(renderable, Text):
            renderable = _safe_text(renderable)
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(safe(segment.text), segment.style)


out = SafeConsole(highlight=False, markup=False, emoji=False)
err = SafeConsole(stderr=True, highlight=False, markup=False, emoji=False)


def print_error(text: str) -> None:
    """Print the text on stderr, with its lines."""
    sys.stderr.write(f"{safe(text)}\n")


def print_text(text: str) -> None:
    """Print JSON or TOML, which stays equal: a character on which a terminal acts can only be in a string."""
    sys.stdout.write(f"{safe(text)}\n")


def print_json(value: Any, *, indent: bool = False) -> None:
    """Print the value as JSON: on one line, or indented."""
    is_indented = indent and not has_more_levels(value, SAFE_LEVELS)
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2) if is_indented else encoded(value)
    print_text(text.decode())


def print_json_lines(values: Iterable[Any]) -> None:
    """Print each value as one line of JSON."""
    for value in values:
        print_json(value)


def print_line(text: str, style: str | None = None) -> None:
    """Print the text as one line, however long it is: programs and `grep` read it."""
    out.print(safe_line(text), style=style, soft_wrap=True)


def print_lines(lines: Iterable[str]) -> None:
    """Print each text as one line."""
    for line in lines:
        print_line(line)


def make_output_private() -> None:
    """Take from other users the access to stdout if it is a file that is empty, as the shell creates it for `>`."""
    with suppress(OSError):
        found = os.fstat(sys.stdout.fileno())
        if stat.S_ISREG(found.st_mode) and found.st_size == 0:
            os.fchmod(sys.stdout.fileno(), 0o600)


def counted(number: int, noun: str) -> str:
    """Return `1 receipt`, `1,200 receipts`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def utc(ms: int) -> str:
    """Return a time in Unix milliseconds as `2026-11-20 09:30:00Z`."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(ms / 1000))


def figures(rows: Iterable[tuple[str, str]]) -> Table:
    """Return names and values in two columns; blocks of figures align while values are below a thousand million."""
    name = Column(min_width=14, overflow="fold")
    value = Column(min_width=11, overflow="fold", justify="right")
    table = Table.grid(name, value, padding=(0, 2))
    for row in rows:
        table.add_row(*map(safe_line, row))
    return table


def entries(rows: Iterable[tuple[str, str, str]]) -> Table:
    """Return a list with an entry for each row: what identifies it, its facts, and below these one text.

    An empty text takes no line. Columns of facts would be a few characters wide at 80 columns.
    """
    table = Table.grid(Column(justify="right", overflow="fold"), Column(overflow="fold"), padding=(0, 2))
    for name, facts, text in rows:
        parts: list[RenderableType] = [Text(safe_line(facts))]
        if text:
            parts.append(Padding(Text(safe(text)), (0, 0, 0, 2)))
        table.add_row(Text(safe_line(name), style="bold"), Group(*parts))
    return table
