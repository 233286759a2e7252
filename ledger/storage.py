"""Where the files of a ledger are: a directory of this machine, or a prefix of a bucket in an object store.

A file has a name, its path below that place, with `/` between the parts. It is written as a whole: a reader finds all
of it or no such file. Nothing is renamed and nothing is appended, since object stores can do neither.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

OBJECT_STORE: Final = "s3://"
# An object store takes long to answer, and answers many at a time. The client has 25 connections.
_AT_ONCE: Final = 24
_UNFINISHED, _LOCK = "unfinished", "lock"

Value = TypeVar("Value")
Result = TypeVar("Result")


class NotOwner(Exception):
    """Another process writes the ledger."""


class StoredFile(NamedTuple):
    """A file as a directory lists it."""

    name: str
    size: int  # bytes


class Storage:
    """Files in any file system of Arrow. Every method may raise OSError."""

    def __init__(self, location: str, system: fs.FileSystem, base: str) -> None:
        self.location = location  # as the settings have it
        self._system = system
        self._base = base.rstrip("/")

    def is_there(self) -> bool:
        """Whether there may be files."""
        return True

    def directories(self, name: str) -> list[str]:
        """Return the names of the directories in a directory. One that does not exist has none."""
        return [self._name(found) for found in self._listed(name, False) if found.type is fs.FileType.Directory]

    def files(self, name: str) -> list[StoredFile]:
        """Return the files in a directory and in those below it, by name. One that does not exist has none."""
        found = (found for found in self._listed(name, True) if found.is_file)
        return sorted(StoredFile(self._name(each), each.size) for each in found)

    def opened(self, name: str) -> pa.NativeFile:
        """Return a file from which parts can be read. Raises FileNotFoundError."""
        return self._system.open_input_file(self._path(name))

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raises FileNotFoundError."""
        with self.opened(name) as file:
            content: bytes = file.read()
            return content

    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write a file, in the place of another one of this name."""
        raise NotImplementedError

    def remove(self, name: str) -> None:
        """Remove a file. One that does not exist is not missed."""
        with suppress(FileNotFoundError):
            self._system.delete_file(self._path(name))

    def remove_directory(self, name: str) -> None:
        """Remove a directory with everything below it. One that does not exist is not missed."""
        with suppress(FileNotFoundError):
            self._system.delete_dir(self._path(name))

    def remove_unfinished(self) -> None:
        """Remove what killed processes left. No other process may write."""

    def locked(self) -> Any:
        """Return a `with` block for the process that writes. Its value is the id by which Redis knows the process.

        Entering it raises NotOwner: another process is known to write.
        """
        raise NotImplementedError

    def each(self, function: Callable[[Value], Result], values: Iterable[Value]) -> Iterator[Result]:
        """Yield what a function that reads files returns for each value, in their order."""
        return map(function, values)

    def _listed(self, name: str, recursive: bool) -> list[fs.FileInfo]:
        selector = fs.FileSelector(self._path(name), recursive=recursive, allow_not_found=True)
        found: list[fs.FileInfo] = self._system.get_file_info(selector)
        return found

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}" if name else self._base

    def _name(self, found: fs.FileInfo) -> str:
        return str(found.path).removeprefix(f"{self._base}/")


class Directory(Storage):
    """A directory of this machine. What `write` and `remove` have done outlives a failure of power."""

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory), fs.LocalFileSystem(use_mmap=True), str(directory.absolute()))
        self._directory = directory

    def is_there(self) -> bool:
        """Whether there is such a directory."""
        return self._directory.is_dir()

    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write a file beside the others, and give it its name when it is on the disk."""
        path, unfinished = self._directory / name, self._directory / _UNFINISHED / name.replace("/", "_")
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        created = self._new_parents(path)
        os.replace(unfinished, path)
        for directory in (path.parent, *created):
            _synchronize(directory)

    def remove(self, name: str) -> None:
        """Remove a file."""
        path = self._directory / name
        with suppress(FileNotFoundError):
            path.unlink()
            _synchronize(path.parent)

    def remove_unfinished(self) -> None:
        """Remove files that have no name yet."""
        shutil.rmtree(self._directory / _UNFINISHED, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[str]:
        """Hold the lock of the directory, which the kernel releases when the process ends or is killed. The id is that
        of the directory, so the next process goes on at once."""
        self._directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise NotOwner(f"another process writes to {self._directory}") from None
            yield os.pread(descriptor, 32, 0).decode("ascii") or _new_id(descriptor)
        finally:
            os.close(descriptor)

    def _new_parents(self, path: Path) -> list[Path]:
        """Create the directories of a file, and return those that have a new directory."""
        missing = [parent for parent in path.parents if not parent.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        return [parent.parent for parent in missing]


class ObjectStore(Storage):
    """A prefix of a bucket. The request that writes an object is atomic: readers see the whole object afterwards."""

    def __init__(self, url: str) -> None:
        # A small object takes one request in place of three.
        system, base = fs.FileSystem.from_uri(f"{url}{'&' if '?' in url else '?'}allow_delayed_open=true")
        super().__init__(url, system, base)

    def opened(self, name: str) -> pa.NativeFile:
        """Return an object from which parts can be read."""
        with _explained():
            return super().opened(name)

    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write an object."""
        with _explained(), self._system.open_output_stream(self._path(name)) as stream:
            stream.write(content)

    @contextmanager
    def locked(self) -> Iterator[str]:
        """An object store has no locks: the key in Redis is the only one, and a new process waits until that of a
        killed one has expired."""
        yield uuid4().hex

    def each(self, function: Callable[[Value], Result], values: Iterable[Value]) -> Iterator[Result]:
        """Yield the results in order, for _AT_ONCE values at a time."""
        remaining = iter(values)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            while some := list(islice(remaining, _AT_ONCE)):
                yield from pool.map(function, some)

    def _listed(self, name: str, recursive: bool) -> list[fs.FileInfo]:
        with _explained():
            return super()._listed(name, recursive)


@lru_cache(maxsize=8)
def storage_of(location: str) -> Storage:
    """Return the files at a directory, or at `s3://BUCKET/PREFIX`. Raises OSError and ValueError: the client of the
    object store cannot be made."""
    return ObjectStore(location) if location.startswith(OBJECT_STORE) else Directory(Path(location))


@contextmanager
def _explained() -> Iterator[None]:
    """Give an error of the client the text that an error of the operating system has in the log."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OSError(errno.EIO, str(error)) from None


def _new_id(descriptor: int) -> str:
    new = uuid4().hex
    os.pwrite(descriptor, new.encode("ascii"), 0)
    os.fsync(descriptor)
    return new


def _synchronize(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
