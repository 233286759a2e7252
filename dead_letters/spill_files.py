"""Spill files: dead letters beyond what Redis shall keep, as JSON lines compressed with Zstandard.

A file is written whole and synced before any of its letters leaves Redis, and never changed in place, so a crash tears
no file and loses no letter. It is finished when all that can have left: it keeps those that did, not one that was
replayed or skipped first, or that a crash left in Redis. So each letter is in one place.

A line is `{"destination", "sequence", "accepted_at_ms", "source", "event", "again", "why"}`; `segue dead export` writes
the same. `zstdcat FILE` shows them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import gmtime, strftime
from urllib.parse import quote
from uuid import uuid4

import orjson
from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError

from dead_letters.query import Grave
from mapping.envelope import JsonObject

SUFFIX = ".jsonl.zst"
_UNFINISHED = ".new"
_LEAVING = ".leaving"  # of a file whose letters are about to leave Redis
_CHUNK = 1 << 16


class TornFile(Exception):
    """The file ends in the middle, or is no spill file."""


def line(queue: str, grave: Grave) -> bytes:
    """Return a letter as a line, without the line's end."""
    return orjson.dumps(
        {
            "destination": queue,
            "sequence": grave.sequence,
            "accepted_at_ms": grave.letter.accepted_at_ms,
            "source": grave.source,
            "event": grave.event,
            "again": grave.again,
            "why": grave.why,
        }
    )


def write(directory: Path, queue: str, lines: Iterable[bytes]) -> Path:
    """Write the lines to a new file that has to be finished; when this returns they are on the disk."""
    name = f"{_prefix(queue)}{strftime('%Y%m%dT%H%M%S', gmtime())}-{uuid4().hex[:8]}{SUFFIX}{_LEAVING}"
    with _sole(directory):
        return _write(directory / name, lines)


def unfinished(directory: Path, queue: str) -> list[Path]:
    """Return the files of a destination that were written and not finished."""
    return sorted(directory.glob(f"{_prefix(queue)}[0-9]*T*{SUFFIX}{_LEAVING}"))


def finish(file: Path, own: Container[int]) -> Path | None:
    """Make a spill file of what was written: of the letters with these sequences. Return it, None without any."""
    with _sole(file.parent):
        if file.exists():
            _drop(file, lambda line: line["sequence"] not in own)
        if not file.exists():
            return None
        finished = file.replace(file.with_name(file.name.removesuffix(_LEAVING)))
        _sync(file.parent)
        return finished


def files(directory: Path, queue: str) -> list[Path]:
    """Return the spill files of a destination, the oldest first."""
    return sorted(directory.glob(f"{_prefix(queue)}[0-9]*T*{SUFFIX}"))


def read(file: Path) -> Iterator[bytes]:
    """Yield the lines of a file; raise TornFile when it is not whole."""
    rest = b""
    for chunk in _chunks(file):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def remove(directory: Path, queue: str, wanted: Callable[[JsonObject], bool]) -> int:
    """Remove the lines that are wanted from all spill files of a destination, and return how many. Whatever a crash
    left unfinished goes as well."""
    removed = 0
    if not directory.is_dir():
        return 0
    with _sole(directory):
        for unfinished in directory.glob(f"{_prefix(queue)}*{_UNFINISHED}"):
            unfinished.unlink()
        for file in files(directory, queue):
            removed += _drop(file, wanted)
    return removed


def _drop(file: Path, wanted: Callable[[JsonObject], bool]) -> int:
    """Remove the lines that are wanted from a file, and return how many; the file goes with the last one."""
    is_wanted = [wanted(orjson.loads(one)) for one in read(file)]
    if all(is_wanted):
        file.unlink()
    elif any(is_wanted):
        _write(file, (one for one, leaves in zip(read(file), is_wanted, strict=True) if not leaves))
    return sum(is_wanted)


def _write(file: Path, lines: Iterable[bytes]) -> Path:
    draft = file.with_name(file.name + _UNFINISHED)
    with draft.open("wb") as raw:
        with ZstdCompressor().stream_writer(raw, closefd=False) as compressed:
            for one in lines:
                compressed.write(one + b"\n")
        raw.flush()
        os.fsync(raw.fileno())
    draft.replace(file)
    _sync(file.parent)
    return file


def _chunks(file: Path) -> Iterator[bytes]:
    decompressor = ZstdDecompressor().decompressobj()
    with file.open("rb") as raw:
        try:
            while chunk := raw.read(_CHUNK):
                yield decompressor.decompress(chunk)
        except ZstdError as error:
            raise TornFile(f"{file} is no spill file, or damaged: {error}") from None
    if not decompressor.eof:
        raise TornFile(f"{file} is torn: it ends in the middle")


@contextmanager
def _sole(directory: Path) -> Iterator[None]:
    """Be the only process that writes to the directory, which is made when absent."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prefix(queue: str) -> str:
    return f"{quote(queue, safe='')}-"
