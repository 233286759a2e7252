"""An external merge sort: events in the order of their times, with bounded memory.

Events are collected in memory up to a limit, sorted, and written to a *run*, a compressed file. The runs are merged
when the events are sent. Events of equal times keep the order of their files and of their positions there.
"""

from __future__ import annotations

import heapq
import io
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import zstandard

from console.errors import CommandError

RUN_BYTES: Final = 64 * 1024 * 1024
MOST_RUNS: Final = 64  # that are merged at once: each has an open file and two buffers
_BUFFER_BYTES: Final = 64 * 1024
_EVENT_BYTES: Final = 250  # what an event takes in memory besides its body
_HEAD: Final = struct.Struct("<qIQI")  # the members of Position, and the length of the body
_WINDOW_LOG: Final = 17  # a reader of a run needs 128 KiB


class Position(NamedTuple):
    """The position of an event in the sorted order: its time; of equal times, its file and its number there."""

    happened_ms: int
    file: int  # index among the files of the input
    number: int  # of the line or element


START: Final = Position(-(2**63), 0, 0)  # before every event


class Event(NamedTuple):
    """An event that is sent, as JSON. Its position is part of no other event."""

    position: Position
    body: bytes


class Buffer:
    """The events of the next run."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._events: list[Event] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def is_full(self) -> bool:
        """Whether the events take the memory that they may."""
        return self._bytes >= self._most_bytes

    def add(self, event: Event) -> None:
        """Add an event. Its body is copied, because orjson leaves a kilobyte of unused memory behind a text."""
        self._events.append(Event(event.position, bytes(memoryview(event.body))))
        self._bytes += len(event.body) + _EVENT_BYTES

    def write(self, path: Path) -> None:
        """Write the events to a run, and forget them."""
        self._events.sort()
        write(path, self._events)
        self._events, self._bytes = [], 0


def write(path: Path, events: Iterable[Event]) -> None:
    """Write sorted events to a run that is durable when this returns. Until then there is no file of this name."""
    unfinished = path.with_suffix(".tmp")
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=_WINDOW_LOG)
    with unfinished.open("wb") as file:
        with zstandard.ZstdCompressor(compression_params=parameters).stream_writer(file, closefd=False) as writer:
            for position, body in events:
                writer.write(_HEAD.pack(*position, len(body)) + body)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names of new files in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def merged(paths: Sequence[Path], after: Position) -> Iterator[Event]:
    """Yield the events of all runs that are behind a position, in their order."""
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) for path in paths]
        yield from heapq.merge(*(_events(file, after) for file in files))


def _events(file: io.BufferedReader, after: Position) -> Iterator[Event]:
    """Yield the events of a run behind a position. Raises CommandError: the run is damaged."""
    unpacked = zstandard.ZstdDecompressor().stream_reader(file, read_size=_BUFFER_BYTES)
    reader = io.BufferedReader(unpacked, _BUFFER_BYTES)
    try:
        while head := reader.read(_HEAD.size):
            *members, length = _HEAD.unpack(head)
            position, body = Position(*members), reader.read(length)
            if len(body) < length:
                raise struct.error
            if position > after:
                yield Event(position, body)
    except (struct.error, zstandard.ZstdError):
        raise CommandError(f"{file.name} is damaged; remove the working directory to begin again") from None
