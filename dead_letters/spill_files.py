"""Spill files: dead letters that exceed a limit of Redis, as JSON lines compressed with Zstandard.

A file is written and synced completely before a dead letter leaves Redis for it, and it is never changed in place. A
crash therefore tears no file and loses no dead letter. A new file is *finished* when its dead letters have left Redis:
it keeps those that did. Dead letters that were replayed or skipped first are removed from it, and so are those that a
crash left in Redis. Each dead letter is therefore in one place.

`dead_letters.record.Line` defines the lines, which `segue dead export` prints as well. `zstdcat FILE` prints a file.
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

from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError

from dead_letters.record import Line

SUFFIX = ".jsonl.zst"
_DRAFT = ".new"  # of a file that is being written
_UNFINISHED = ".leaving"  # of a file whose dead letters leave Redis
# After the name of the destination: time and token. A shorter pattern would match the files of `shop-2` for `shop`.
_STAMP = f"{'[0-9]' * 8}T{'[0-9]' * 6}-{'[0-9a-f]' * 8}"
_CHUNK = 1 << 16


class TornFile(Exception):
    """The file is truncated, damaged, or not a spill file of this version."""


def write(directory: Path, destination: str, lines: Iterable[bytes]) -> Path:
    """Write the lines to a new file, sync it and return it. `finish` has to follow.

    Drafts that a crash left are deleted; a write that fails leaves none.
    """
    name = f"{_prefix(destination)}{strftime('%Y%m%dT%H%M%S', gmtime())}-{uuid4().hex[:8]}{SUFFIX}{_UNFINISHED}"
    with _locked(directory):
        _delete_drafts(directory, destination)
        return _write(directory / name, lines)


def unfinished(directory: Path, destination: str) -> list[Path]:
    """Return the files of a destination that were written but not finished."""
    return sorted(directory.glob(f"{_prefix(destination)}{_STAMP}{SUFFIX}{_UNFINISHED}"))


def finish(file: Path, spilled: Container[int]) -> Path | None:
    """Finish a file: keep the dead letters with these sequences. Return the finished file, None if it has none."""
    with _locked(file.parent):
        if file.exists():
            _remove_lines(file, lambda line: line.sequence not in spilled)
        if not file.exists():
            return None
        finished = file.replace(file.with_name(file.name.removesuffix(_UNFINISHED)))
        _sync(file.parent)
        return finished


def files(directory: Path, destination: str) -> list[Path]:
    """Return the finished files of a destination, the oldest first."""
    return sorted(directory.glob(f"{_prefix(destination)}{_STAMP}{SUFFIX}"))


def read(file: Path) -> Iterator[bytes]:
    """Yield the lines of a file. Raises TornFile when it is truncated or damaged."""
    rest = b""
    for chunk in _chunks(file):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest


def remove(directory: Path, destination: str, is_removed: Callable[[Line], bool]) -> int:
    """Remove lines from all finished files of a destination, and return how many. Drafts that a crash left are deleted
    as well. Raises TornFile when a file cannot be read; the files before it are changed already."""
    if not directory.is_dir():
        return 0
    with _locked(directory):
        _delete_drafts(directory, destination)
        return sum(_remove_lines(file, is_removed) for file in files(directory, destination))


def _remove_lines(file: Path, is_removed: Callable[[Line], bool]) -> int:
    """Remove lines from a file, and return how many. A file without lines is deleted."""
    removed = [is_removed(_line(file, text)) for text in read(file)]
    if all(removed):
        file.unlink()
    elif any(removed):
        _write(file, (text for text, leaves in zip(read(file), removed, strict=True) if not leaves))
    return sum(removed)


def _line(file: Path, text: bytes) -> Line:
    try:
        return Line.from_bytes(text)
    except (KeyError, TypeError, ValueError):
        raise TornFile(f"{file} has a line that is not a dead letter of this version") from None


def _write(file: Path, lines: Iterable[bytes]) -> Path:
    draft = file.with_name(file.name + _DRAFT)
    draft.touch(mode=0o600)  # it contains data of people
    try:
        with draft.open("wb") as raw:
            with ZstdCompressor().stream_writer(raw, closefd=False) as compressed:
                for line in lines:
                    compressed.write(line + b"\n")
            raw.flush()
            os.fsync(raw.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    _sync(file.parent)
    return file


def _delete_drafts(directory: Path, destination: str) -> None:
    for draft in directory.glob(f"{_prefix(destination)}{_STAMP}{SUFFIX}*{_DRAFT}"):
        draft.unlink()


def _chunks(file: Path) -> Iterator[bytes]:
    frame = ZstdDecompressor().decompressobj()
    with file.open("rb") as raw:
        try:
            while chunk := raw.read(_CHUNK):
                while chunk:
                    if frame.eof:  # `cat` joins files, and zstdcat reads them
                        frame = ZstdDecompressor().decompressobj()
                    yield frame.decompress(chunk)
                    chunk = frame.unused_data
        except ZstdError as error:
            raise TornFile(f"{file} is not a spill file, or it is damaged: {error}") from None
    if not frame.eof:
        raise TornFile(f"{file} is torn: its end is missing")


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Lock the directory, which is made when absent, against other processes that write to it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prefix(destination: str) -> str:
    return f"{quote(destination, safe='')}-"
