"""How the commands print: one console, JSON for programs, and lists that are readable at 80 columns and at 40.

Texts of events and of Customer.io are printed as they are: neither Rich's markup nor its emoji codes apply, so that
`[b]` and `:apple:` in a name stay what they are.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

import orjson
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from mapping.envelope import SAFE_LEVELS, encoded, has_more_levels

out = Console(highlight=False, markup=False, emoji=False)


def print_json(value: Any, *, indent: bool = False) -> None:
    """Print the value as JSON: on one line, or indented."""
    is_indented = indent and not has_more_levels(value, SAFE_LEVELS)
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2) if is_indented else encoded(value)
    sys.stdout.write(f"{text.decode()}\n")


def print_json_lines(values: Iterable[Any]) -> None:
    """Print each value as one line of JSON."""
    for value in values:
        print_json(value)


def print_line(text: str, style: str | None = None) -> None:
    """Print the text as one line, however long it is: programs and `grep` read it."""
    out.print(text, style=style, soft_wrap=True)


def print_lines(lines: Iterable[str]) -> None:
    """Print each text as one line."""
    for line in lines:
        print_line(line)


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
        table.add_row(*row)
    return table


def entries(rows: Iterable[tuple[str, str, str]]) -> Table:
    """Return a list with an entry for each row: what identifies it, its facts, and below these one text.

    An empty text takes no line. Columns of facts would be a few characters wide at 80 columns.
    """
    table = Table.grid(Column(justify="right", overflow="fold"), Column(overflow="fold"), padding=(0, 2))
    for name, facts, text in rows:
        parts: list[RenderableType] = [Text(facts)]
        if text:
            parts.append(Padding(Text(text), (0, 0, 0, 2)))
        table.add_row(Text(name, style="bold"), Group(*parts))
    return table
