"""The file of rejected records: a line of JSON for each, `{"file", "number", "field"?, "reason"}`.

`number` is the line, or the element of an array, from 1. The checkpoint has the length of the file. What a
killed run wrote behind it is removed, because the next run writes it again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

import orjson


class Rejects:
    """The open file of rejected records."""

    def __init__(self, path: Path, length: int) -> None:
        """Open or create the file, and shorten it to the length of the checkpoint in bytes. It may be shorter, when it
        was removed."""
        self.path = path
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        kept = min(length, self._file.seek(0, os.SEEK_END))
        self._file.truncate(kept)
        self._file.seek(kept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, file: str, number: int, field: str | None, reason: str) -> None:
        """Add a record that is not sent. `number` is its line or element."""
        row = {"file": file, "number": number, "field": field, "reason": reason}
        text = orjson.dumps({name: value for name, value in row.items() if value is not None})
        self._file.write(text + b"\n")

    def sync(self) -> int:
        """Make the file durable; return its length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size
