"""Exports of people as CSV: each row becomes the event that `--column` describes.

A column without a mapping becomes a trait of its name. Cells are texts, and an empty cell is left out.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from console.errors import CommandError
from console.output import counted
from console.send.readers import Fault, encoding_fault, raw_lines, skip_byte_order_mark

_MEMBERS: Final = ("userId", "anonymousId", "messageId", "timestamp")
_OBJECTS: Final = ("traits", "context", "integrations")
_DELIMITERS: Final = ",;\t|"
_QUOTED: Final = re.compile(r'"[^"]*"?')
# Texts of Python's reader that say what its caller should do, and not what is wrong with the row.
_CSV_FAULTS: Final = {
    "new-line character": "a carriage return is outside of quotes; lines must end in a line feed",
    "unexpected end of data": "a quote is not closed",
}


class Row(NamedTuple):
    """An event that a row makes, and the line on which the row ends."""

    number: int
    event: dict[str, Any]


class Columns:
    """What the columns of a file mean: a path such as `userId` or `traits.email` by the name of each column."""

    def __init__(self, given: Sequence[str]) -> None:
        """`given` are the texts `COLUMN=PATH`; an empty path leaves the column out. Raises CommandError."""
        self.text = " ".join(sorted(given))  # differs where the columns differ
        pairs = [_mapped(each) for each in given]
        self._paths: Mapping[str, tuple[str, ...]] = dict(pairs)
        twice = next((name for name in self._paths if sum(name == each for each, _ in pairs) > 1), None)
        if twice is not None:
            raise CommandError(f"--column {twice}=…: is given twice; a column goes to one place")

    def of(self, file: str, header: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the path of each column of a file, empty for one that is left out. Raises CommandError."""
        absent = [name for name in self._paths if name not in header]
        if absent:
            raise CommandError(f"{file}: there is no column {', '.join(absent)}; there are {', '.join(header)}")
        paths = [self._paths.get(name, _default(name)) for name in header]
        twice = {".".join(path) for path in paths if path and paths.count(path) > 1}
        if twice:
            raise CommandError(f"{file}: two columns are mapped to {', '.join(sorted(twice))}")
        nested = {path[:length] for path in paths for length in range(1, len(path))}
        if nested & set(paths):
            raise CommandError(f"{file}: two columns are mapped to a value and to a member of it")
        if not {("userId",), ("anonymousId",)} & set(paths):
            raise CommandError(f"{file}: no column is the userId; map one, such as --column {header[0]}=userId")
        return paths

    def rows(self, file: str, reader: io.BufferedReader) -> Iterator[Row | Fault]:
        """Yield an identify of each row; the first row has the names.

        Raises CommandError: the first row cannot be read, or a column is not there.
        """
        if fault := encoding_fault(reader):
            raise CommandError(f"{file}: {fault}")
        text = _Text(reader)
        paths: list[tuple[str, ...]] | None = None
        for cells in _cells(text, csv.reader(text, delimiter=_delimiter(reader), strict=True)):
            if isinstance(cells, Fault) and paths is None:
                raise CommandError(f"{file}, line {cells.number}, which has the names of the columns: {cells.reason}")
            if isinstance(cells, Fault):
                yield cells
            elif cells and paths is None:
                paths = self.of(file, cells)
            elif cells and paths is not None:
                yield _row(text, cells, paths)


class _Text:
    """The lines of a file, as the reader of CSV takes them.

    `number` is that of the last line, and `first` that of the line on which the last row begins.
    """

    def __init__(self, reader: io.BufferedReader) -> None:
        self.number = self.first = 0
        self.faults: list[Fault] = []  # lines that are left out
        self._reader = reader

    def __iter__(self) -> Iterator[str]:
        skip_byte_order_mark(self._reader)
        for each in raw_lines(self._reader):
            self.number = each.number
            if isinstance(each, Fault):
                self.faults.append(each)
            else:
                yield each.text.decode("utf-8", "surrogateescape")

    @property
    def row(self) -> str:
        """How texts name the last row. The number of a fault is the line on which the row ends."""
        return "the row" if self.first == self.number else f"the row from line {self.first} on"


def _cells(text: _Text, rows: Iterator[list[str]]) -> Iterator[list[str] | Fault]:
    """Yield the cells of each row, and a fault for what is no row."""
    while True:
        text.first = text.number + 1
        try:
            row: list[str] | Fault | None = _utf8(text, next(rows, None))
        except csv.Error as error:
            row = Fault(text.number, f"{text.row} is no CSV: {_csv_fault(error)}")
        yield from text.faults
        text.faults.clear()
        if row is None:
            return
        yield row


def _utf8(text: _Text, cells: list[str] | None) -> list[str] | Fault | None:
    """Return the cells of a row; a fault when they were decoded from something else than UTF-8."""
    if any("\udc80" <= character <= "\udcff" for cell in cells or () if not cell.isascii() for character in cell):
        return Fault(text.number, f"{text.row} is not UTF-8")
    return cells


def _csv_fault(error: csv.Error) -> str:
    return next((text for beginning, text in _CSV_FAULTS.items() if str(error).startswith(beginning)), str(error))


def _delimiter(reader: io.BufferedReader) -> str:
    """Return the character between the cells: the one that the first line has most often, outside of quotes."""
    header = reader.peek(1).lstrip(b"\r\n").partition(b"\n")[0].decode("utf-8", "replace")
    return max(_DELIMITERS, key=_QUOTED.sub("", header).count)


def _row(text: _Text, cells: Sequence[str], paths: Sequence[tuple[str, ...]]) -> Row | Fault:
    if len(cells) != len(paths):
        return Fault(text.number, f"{text.row} has {counted(len(cells), 'cell')}, and the first row has {len(paths)}")
    event: dict[str, Any] = {"type": "identify"}
    for path, cell in zip(paths, cells, strict=True):
        if path and cell:
            *objects, name = path
            target = event
            for each in objects:
                target = target.setdefault(each, {})
            target[name] = cell
    return Row(text.number, event)


def _mapped(text: str) -> tuple[str, tuple[str, ...]]:
    column, equals, path = text.rpartition("=")
    parts = tuple(path.split(".")) if path else ()
    is_known = not parts or path in _MEMBERS or (parts[0] in _OBJECTS and len(parts) > 1 and all(parts))
    if not (column and equals and is_known):
        known = [*_MEMBERS, *(f"{name}.…" for name in _OBJECTS)]
        raise CommandError(f"--column {text}: must be COLUMN=PATH with a path of {', '.join(known)}, or COLUMN=")
    return column, parts


def _default(name: str) -> tuple[str, ...]:
    if not name.strip():
        return ()
    return (name,) if name in _MEMBERS else ("traits", name.removeprefix("traits."))
