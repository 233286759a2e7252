"""Import dead letters from lines: of an export, of a spill file, or written by a program. All are imported, or none."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO

import orjson
from pydantic import TypeAdapter, ValidationError

import lanes
import mapping
from dead_letters import record, spill_files
from dead_letters.record import Line
from lanes import fates
from mapping.envelope import has_more_levels

Lines = Callable[[], Iterator[bytes]]
Target = tuple[lanes.Queue, mapping.Destination]

_PAGE = 500
_MOST_LEVELS = 300  # of a line: an exported one has a few more than its event
_FORM = '{"source": …, "event": {…}, "failure": {…}}'
_LINE = TypeAdapter(Line)


class ImportRefused(Exception):
    """The lines cannot be imported. The message names the first bad line. Nothing was imported."""


def lines_of(file: Path) -> Lines:
    """Return a function that yields the lines of a file, each time from its beginning: of a text or a spill file."""
    if file.suffix == ".zst":
        return lambda: spill_files.read(file)

    def text_lines() -> Iterator[bytes]:
        with file.open("rb") as opened:
            yield from opened

    return text_lines


@contextmanager
def spooled(stream: IO[bytes]) -> Iterator[Path]:
    """Yield a temporary file with the contents of a stream, which can be read only once."""
    with tempfile.NamedTemporaryFile() as copy:
        shutil.copyfileobj(stream, copy)
        copy.flush()
        yield Path(copy.name)


def import_lines(queue: lanes.Queue, destination: mapping.Destination, lines: Lines, now_ms: int) -> tuple[int, int]:
    """Add the dead letters of the lines to one destination, see `import_to`."""
    return import_to([(queue, destination)], lines, now_ms)


def import_to(targets: Sequence[Target], lines: Lines, now_ms: int) -> tuple[int, int]:
    """Add the dead letters of the lines. Return how many were added, and how many existed already.

    One target gets all lines; of several, each gets the lines that name its destination. Raises ImportRefused, and adds
    nothing, when a line is not a dead letter or names none of them, or when `dead_letters` would be exceeded.
    """
    try:
        counts = Counter(name for name, _ in _read(targets, lines, now_ms))
    except spill_files.TornFile as error:
        raise ImportRefused(f"{error}; nothing was imported") from None
    for queue, destination in targets:
        _check_room(queue, destination, counts[destination.name])
    dead_letters, added = _read(targets, lines, now_ms), 0
    while page := list(islice(dead_letters, _PAGE)):
        for queue, _ in targets:
            added += lanes.import_dead_letters(queue, [dead for name, dead in page if name == queue.name])
    return added, counts.total() - added


def _check_room(queue: lanes.Queue, destination: mapping.Destination, count: int) -> None:
    existing, most = lanes.count_dead_letters(queue)[0], destination.delivery.dead_letters
    if existing + count > most:
        text = f"{destination.name} has {existing:,} dead letters and keeps {most:,}; {count:,} more are too many"
        raise ImportRefused(f"{text}: raise dead_letters, or replay or purge some first; nothing was imported")


def _read(targets: Sequence[Target], lines: Lines, now_ms: int) -> Iterator[tuple[str, lanes.ImportedDeadLetter]]:
    """Yield each dead letter with the name of its destination."""
    destinations = {destination.name: destination for _, destination in targets}
    only = targets[0][1] if len(targets) == 1 else None
    for number, text in enumerate(lines(), start=1):
        if text.strip():
            line = _validated(number, text)
            destination = only or destinations.get(line.destination or "")
            if destination is None:
                names = ", ".join(destinations)
                raise ImportRefused(
                    f"line {number} names none of the destinations {names}; say --destination; nothing was imported"
                )
            try:
                yield destination.name, _imported(line, destination, now_ms)
            except (TypeError, ValueError, RecursionError) as error:
                raise ImportRefused(f"line {number} cannot be stored: {error}; nothing was imported") from None


def _imported(line: Line, destination: mapping.Destination, now_ms: int) -> lanes.ImportedDeadLetter:
    """Return the dead letter of a line. Raises TypeError, ValueError or RecursionError when it cannot be stored."""
    record.ensure_storable(line.event)
    failure = replace(line.failure, imported_at_ms=now_ms)
    return lanes.ImportedDeadLetter(
        sequence=line.sequence if line.destination == destination.name else None,
        accepted_at_ms=failure.buried_at_ms if line.accepted_at_ms is None else line.accepted_at_ms,
        keys=mapping.ordering_info(line.event, destination).keys,
        body=line.body(),
        failure=failure.to_bytes(),
        counted_as=fates.name("dead", line.source, failure.reason),
        accepted_as=fates.name("accepted", line.source, "import"),
    )


def _validated(number: int, text: bytes) -> Line:
    try:
        members = orjson.loads(text)
        if has_more_levels(members, _MOST_LEVELS):
            raise ImportRefused(f"line {number} is nested in more than {_MOST_LEVELS} levels; nothing was imported")
        if isinstance(members, dict) and "why" in members and "failure" not in members:
            raise ImportRefused(
                f'line {number} was exported by an older version of Segue: it has "why" and "again" in place of '
                '"failure" and "requeued"; nothing was imported'
            )
        line = _LINE.validate_python(members)
    except orjson.JSONDecodeError as error:
        raise ImportRefused(f"line {number} is not JSON ({error}); nothing was imported") from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "it"
        text_of_fault = f"line {number} is not a dead letter like {_FORM}: {where}: {fault['msg']}"
        raise ImportRefused(f"{text_of_fault}; nothing was imported") from None
    if any(fault.request is not None and fault.path is None for fault in line.failure.faults):
        raise ImportRefused(f"line {number}: a fault with a request needs a path; nothing was imported")
    return line
