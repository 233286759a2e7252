"""Records of a file: lines of JSON, or the elements of JSON arrays; compressed with gzip or not.

A record that cannot be read is part of the result, as a `Fault`. Memory is bounded by MAX_RECORD_BYTES.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final, NamedTuple, Protocol, TypeVar, cast

from console.send import json_arrays

MAX_RECORD_BYTES: Final = 1024 * 1024
CHUNK_BYTES: Final = 64 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# What a file begins with that is no text in UTF-8, and what it is.
_OTHERS: Final = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PK\x03\x04": "a ZIP archive, as xlsx files are",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard",
    b"PAR1\x15": "Parquet",
}
_WHITE_SPACE = b" \t\r\n\0"
_GZIP = b"\x1f\x8b"


class _Numbered(Protocol):
    @property
    def number(self) -> int: ...


T = TypeVar("T", bound=_Numbered)


class Record(NamedTuple):
    """The text of an event, and where it is: its line, or its element in an array, from 1."""

    number: int
    text: bytes


class Fault(NamedTuple):
    """What cannot be read, where it is, and why."""

    number: int
    reason: str


@contextmanager
def opened(stream: IO[bytes]) -> Iterator[io.BufferedReader]:
    """Yield a reader of the uncompressed content; close the stream at the end.

    That of a compressed file has no buffer above the one of GzipFile, which would lose what is in front of damage.
    """
    with stream:
        reader = io.BufferedReader(cast(Any, stream), CHUNK_BYTES)
        if reader.peek(2)[:2] == _GZIP:
            yield cast(io.BufferedReader, gzip.GzipFile(fileobj=reader))
        else:
            yield reader


def skip_byte_order_mark(reader: io.BufferedReader) -> None:
    """Skip the byte-order mark in front of the content."""
    if reader.peek(3)[:3] == _BYTE_ORDER_MARK:
        reader.read(3)


def encoding_fault(reader: io.BufferedReader) -> str | None:
    """Return why the content cannot be read at all; None when it may be UTF-8."""
    beginning = reader.peek(8)
    kind = next((kind for mark, kind in _OTHERS.items() if beginning.startswith(mark)), None)
    return None if kind is None else f"the file is {kind}, and must be text in UTF-8"


def records(reader: io.BufferedReader) -> Iterator[Record | Fault]:
    """Yield the records of JSON: the elements when the content is arrays, else the lines that are not empty."""
    if fault := encoding_fault(reader):
        yield Fault(1, fault)
        return
    skip_byte_order_mark(reader)
    ahead = reader.peek(1)
    content = ahead.lstrip(_WHITE_SPACE)
    if content[:1] == b"[":
        reader.read(len(ahead) - len(content))
        yield from _elements(reader)
    else:
        yield from lines(reader)


def lines(reader: io.BufferedReader) -> Iterator[Record | Fault]:
    """Yield the lines that are not empty, without their ends."""
    skip_byte_order_mark(reader)
    for each in raw_lines(reader):
        if isinstance(each, Fault):
            yield each
        elif text := each.text.strip(_WHITE_SPACE):
            yield Record(each.number, text)


def raw_lines(reader: io.BufferedReader) -> Iterator[Record | Fault]:
    """Yield the lines with their ends."""
    number = 0
    while line := reader.readline(MAX_RECORD_BYTES + 1):
        number += 1
        if len(line) <= MAX_RECORD_BYTES:
            yield Record(number, line)
            continue
        while line and not line.endswith(b"\n"):
            line = reader.readline(MAX_RECORD_BYTES)
        yield Fault(number, f"the line has more than {MAX_RECORD_BYTES:,} bytes")


def guarded(found: Iterator[T]) -> Iterator[T | Fault]:
    """Yield what is found. What is behind a damaged part of a compressed file cannot be read, and is one fault."""
    last = 0
    try:
        for each in found:
            last = each.number
            yield each
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        yield Fault(last + 1, f"the rest of the file cannot be uncompressed: {error}")


def _elements(reader: io.BufferedReader) -> Iterator[Record | Fault]:
    number = 0
    try:
        for number, text in enumerate(json_arrays.elements(reader, CHUNK_BYTES, MAX_RECORD_BYTES), 1):
            if text is None:
                yield Fault(number, f"the element has more than {MAX_RECORD_BYTES:,} bytes")
            else:
                yield Record(number, text)
    except json_arrays.Broken as error:
        yield Fault(number + 1, str(error))
