"""The elements of JSON arrays, one after the other: an array itself is never in memory.

Only brackets, commas and strings are looked at. So an element that is no JSON is found as well, and the elements behind
it can be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BufferedIOBase

# A whole string, a string whose end is not read yet, or a character of the structure.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|(")|[\[\]{},]', re.DOTALL)
_WHITE_SPACE = b" \t\r\n\0"


class Broken(ValueError):
    """The rest of the array cannot be read."""


def elements(stream: BufferedIOBase, chunk: int, most: int) -> Iterator[bytes | None]:
    """Yield the text of each element; None for one of more than `most` bytes.

    The stream is at the bracket of the first array. Reads at most `chunk` bytes at a time. Raises Broken: an array does
    not end, or something else is behind it.
    """
    text = stream.read(1)
    while text:
        if not text.startswith(b"["):
            raise Broken("there is more text behind the end of the array")
        scan = _Scan(most)
        text = text[1:] or stream.read1(chunk)
        while text and not scan.is_complete:
            yield from scan.found(text)
            text = scan.rest if scan.is_complete else stream.read1(chunk)
        if not scan.is_complete:
            raise Broken("the array does not end")
        text = _next_text(text, stream, chunk)


def _next_text(text: bytes, stream: BufferedIOBase, chunk: int) -> bytes:
    """Return what is behind white space; empty at the end of the stream."""
    while not (stripped := text.lstrip(_WHITE_SPACE)):
        text = stream.read1(chunk)
        if not text:
            return b""
    return stripped


class _Scan:
    """How far an array was read. `rest` is the text that is read and belongs to no complete element."""

    def __init__(self, most: int) -> None:
        self.rest = b""
        self.is_complete = False
        self._most = most
        self._at = 0  # in `rest`: what is before it was looked at
        self._depth = 0
        self._is_too_long = False
        self._has_element = False  # there was an element, so that an empty one is a fault

    def found(self, data: bytes) -> Iterator[bytes | None]:
        """Yield the elements that end in the new data."""
        text, start = self.rest + data, 0
        for token in _TOKEN.finditer(text, self._at):
            if token[1]:
                self._at = token.start()  # an unfinished string is looked at again
                break
            character = token[0]
            self._at = token.end()
            if character in b"[{":
                self._depth += 1
            elif character in b"]}" and self._depth:
                self._depth -= 1
            elif character in b",]" and not self._depth:
                yield from self._element(text[start : token.start()], is_last=character == b"]")
                start = token.end()
                if character == b"]":
                    self.is_complete = True
                    self.rest = text[start:]
                    return
        else:
            self._at = len(text)
        self._keep(text, start)

    def _element(self, text: bytes, *, is_last: bool) -> Iterator[bytes | None]:
        stripped = text.strip(_WHITE_SPACE)
        if self._is_too_long or len(stripped) > self._most:
            yield None
        elif stripped or not is_last or self._has_element:
            yield stripped
        self._is_too_long, self._has_element = False, True

    def _keep(self, text: bytes, start: int) -> None:
        """Keep what is incomplete; of an element that is too long, only that a string is not at its end."""
        self.rest, self._at = text[start:], self._at - start
        if len(self.rest) > self._most:
            self._is_too_long = True
            string = self.rest[self._at :]
            is_escape = (len(string) - len(string.rstrip(b"\\"))) % 2
            self.rest, self._at = string[:1] + b"\\" * is_escape, 0
