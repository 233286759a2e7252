"""The files of an input: one file, a directory, or objects of a bucket.

Segment's archive is `segment-logs/SOURCE/DAY/*.gz`, with one event a line (segmentio/segment-docs,
src/connections/storage/catalog/amazon-s3/index.md, "Data format"). Some clients of S3 uncompress such files and keep
the name, so the name says nothing about the compression.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from console.errors import CommandError

JSON_SUFFIXES: Final = (".json", ".jsonl", ".ndjson", ".gz")
CSV_SUFFIXES: Final = (".csv", ".gz")
WORK_SUFFIX: Final = ".segue"  # of the name of a working directory, behind the name of its input


@dataclass(frozen=True, slots=True)
class Input:
    """A file. `name` is relative to the input that the operator named, and does not change when that is moved."""

    name: str
    size: int  # bytes
    modified_ms: int  # Unix milliseconds; an event without a time happened then
    open: Callable[[], IO[bytes]]


class Found(NamedTuple):
    """The files of an input, by name, and the names of the files that are no events."""

    inputs: tuple[Input, ...]
    skipped: tuple[str, ...]


def find(location: str, suffixes: Sequence[str], work: Path | None = None) -> Found:
    """Return the files at a path or an address. In a directory, only files with these suffixes.

    Working directories are no input: `work`, and those that have the name of a default one. Raises CommandError: there
    is no file, or pyarrow is absent. Raises OSError: the location cannot be read.
    """
    if "://" in location:
        found = _in_bucket(location)
    elif os.path.isdir(location):
        found = _in_directory(Path(location), work and work.resolve())
    else:
        return Found((_of_path(Path(location), Path(location).name),), ())
    visible = sorted((each for each in found if not _is_hidden(each.name)), key=lambda each: each.name)
    is_alone = len(visible) == 1 and location.endswith(visible[0].name)  # the address of one object
    inputs = [each for each in visible if is_alone or each.name.lower().endswith(tuple(suffixes))]
    if not inputs:
        raise CommandError(f"{location}: there is no file whose name ends in {', '.join(suffixes)}")
    return Found(tuple(inputs), tuple(each.name for each in visible if each not in inputs))


def digest(inputs: Iterable[Input]) -> str:
    """Return a hash of the names, sizes and times of files. It differs when one of them was changed."""
    hashed = hashlib.sha256()
    for each in inputs:
        hashed.update(f"{each.name}\0{each.size}\0{each.modified_ms}\n".encode())
    return hashed.hexdigest()


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _in_directory(root: Path, work: Path | None) -> list[Input]:
    found = []
    for folder, inner, names in os.walk(root, onerror=_raise):
        inner[:] = [name for name in inner if not name.endswith(WORK_SUFFIX) and Path(folder, name).resolve() != work]
        paths = (Path(folder, name) for name in names)
        found += [_of_path(path, path.relative_to(root).as_posix()) for path in paths if path.is_file()]
    return found


def _raise(error: OSError) -> None:
    """Raise the error of a directory that cannot be read: its events would be missing without a word."""
    raise error


def _of_path(path: Path, name: str) -> Input:
    found = path.stat()
    name = os.fsencode(name).decode(errors="replace")
    return Input(name, found.st_size, found.st_mtime_ns // 1_000_000, lambda: path.open("rb"))


def _in_bucket(address: str) -> list[Input]:
    """Return the objects below an address such as `s3://bucket/prefix`. Credentials are those of the environment."""
    try:
        from pyarrow import fs
    except ImportError:
        text = "needs the packages of the extra `ledger` of pyproject.toml: pip install '.[ledger]'"
        raise CommandError(f"{address} {text}") from None
    try:
        system, path = fs.FileSystem.from_uri(address)
        named = system.get_file_info(path)
        is_file = named.type == fs.FileType.File
        found = [named] if is_file else system.get_file_info(fs.FileSelector(path, recursive=True))
    except (OSError, ValueError) as error:  # of pyarrow: an unknown scheme, no access, no such bucket
        raise CommandError(f"{address} cannot be read: {error}") from None
    root = path.rpartition("/")[0] if is_file else path.rstrip("/")
    return [_of_object(system, each, root) for each in found if each.type == fs.FileType.File]


def _of_object(system: Any, info: Any, root: str) -> Input:
    modified_ms = (info.mtime_ns or 0) // 1_000_000
    name = info.path[len(root) :].lstrip("/")
    return Input(name, info.size, modified_ms, lambda: system.open_input_stream(info.path, compression=None))
