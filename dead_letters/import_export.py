"""Import dead letters from lines: of an export, of a spill file, or written by a program. All are imported, or none.

`plan` says beforehand what an import would add, and every line that it would refuse.
"""

from __future__ import annotations

import shutil
import tempfile
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

import lanes
import mapping
from dead_letters import record, spill_files
from dead_letters.record import Line
from lanes import fates
from mapping.envelope import has_more_levels, utf8_fault

Lines = Callable[[], Iterator[bytes]]
Target = tuple[lanes.Queue, mapping.Destination]
_Read = tuple[str, lanes.ImportedDeadLetter]  # with the name of its destination

MOST_REFUSED: Final = 100  # lines that a plan names
_PAGE = 500
_MOST_LEVELS = 300  # of a line: an exported one has a few more than its event
_FORM = '{"source": …, "event": {…}, "failure": {…}}'
_LINE = TypeAdapter(Line)


class ImportRefused(Exception):
    """The lines cannot be imported. The message names the first bad line. Nothing was imported.

    `line` is its number, from 1; None of a fault of all lines. `field` is its bad member, if it is one member; `fault`
    is what is wrong, without the number.
    """

    def __init__(self, fault: str, line: int | None = None, field: str = "") -> None:
        where = f"is not a dead letter like {_FORM}: {field}: {fault}" if field else fault
        super().__init__(f"{where if line is None else f'line {line} {where}'}; nothing was imported")
        self.fault, self.line, self.field = fault, line, field


class ImportPlan(NamedTuple):
    """What an import would do with the lines. Nothing is imported while one line is refused."""

    counts: Counter[str]  # dead letters by the name of their destination
    existing: int  # of them, those that exist already or are in an earlier line
    refused: list[ImportRefused]  # the first MOST_REFUSED ones
    refused_total: int

    @property
    def new(self) -> int:
        """How many dead letters would be added."""
        return self.counts.total() - self.existing

    def json(self) -> dict[str, Any]:
        """Return `{"new", "existing", "destinations": {NAME: number}, "refused_total", "refused": [{"line", "field",
        "fault"}]}`; `line` is null of a fault of all lines."""
        return {
            "new": self.new,
            "existing": self.existing,
            "destinations": dict(self.counts),
            "refused_total": self.refused_total,
            "refused": [{"line": each.line, "field": each.field, "fault": each.fault} for each in self.refused],
        }


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


def import_to(targets: Sequence[Target], lines: Lines, now_ms: int) -> tuple[int, int]:
    """Add the dead letters of the lines. Return how many were added, and how many existed already.

    One target gets all lines; of several, each gets the lines that name its destination. Raises ImportRefused, and adds
    nothing, when a line is not a dead letter or names none of them, or when `dead_letters` would be exceeded.
    """
    try:
        counts, existing = _counts(targets, _read(targets, lines, now_ms))
    except spill_files.TornFile as error:
        raise ImportRefused(str(error)) from None
    for queue, destination in targets:
        _check_room(queue, destination, counts[destination.name] - existing[destination.name])
    dead_letters, added = _read(targets, lines, now_ms), 0
    while page := list(islice(dead_letters, _PAGE)):
        for queue, _ in targets:
            added += lanes.import_dead_letters(queue, [dead for name, dead in page if name == queue.name])
    return added, counts.total() - added


def plan(targets: Sequence[Target], lines: Lines, now_ms: int) -> ImportPlan:
    """Return what `import_to` would do with the same arguments. Writes nothing."""
    faults = _Faults()
    counts, existing = _counts(targets, faults.without(_reads(targets, lines, now_ms)))
    for queue, destination in targets:
        try:
            _check_room(queue, destination, counts[destination.name] - existing[destination.name])
        except ImportRefused as refused:
            faults.add(refused)
    return ImportPlan(counts, existing.total(), faults.first, faults.total)


class _Faults:
    """The first refused lines, and how many there are."""

    def __init__(self) -> None:
        self.first: list[ImportRefused] = []
        self.total = 0

    def add(self, refused: ImportRefused) -> None:
        self.total += 1
        if self.total <= MOST_REFUSED:
            self.first.append(refused)

    def without(self, reads: Iterator[Callable[[], _Read]]) -> Iterator[_Read]:
        """Yield what the reads return, but for those that are refused."""
        try:
            for read in reads:
                try:
                    yield read()
                except ImportRefused as refused:
                    self.add(refused)
        except spill_files.TornFile as error:
            self.add(ImportRefused(str(error)))


def _counts(targets: Sequence[Target], dead_letters: Iterator[_Read]) -> tuple[Counter[str], Counter[str]]:
    """Return how many dead letters there are by the name of their destination, and how many of them exist already."""
    counts, existing, seen = Counter[str](), Counter[str](), set[tuple[str, int, int]]()
    while page := list(islice(dead_letters, _PAGE)):
        counts.update(name for name, _ in page)
        for queue, _ in targets:
            existing[queue.name] += _existing(queue, page, seen)
    return counts, existing


def _existing(queue: lanes.Queue, page: Sequence[_Read], seen: set[tuple[str, int, int]]) -> int:
    """Return how many of the dead letters the queue has, by sequence and time, or had in an earlier line."""
    placed = [dead for name, dead in page if name == queue.name and dead.sequence is not None]
    stored = lanes.get_dead_letters(queue, sorted({dead.sequence for dead in placed if dead.sequence is not None}))
    seen.update((queue.name, dead.sequence, dead.accepted_at_ms) for dead in stored)
    count = 0
    for dead in placed:
        mark = (queue.name, dead.sequence or 0, dead.accepted_at_ms)
        count += mark in seen
        seen.add(mark)
    return count


def _check_room(queue: lanes.Queue, destination: mapping.Destination, new: int) -> None:
    existing, most = lanes.count_dead_letters(queue)[0], destination.delivery.dead_letters
    if new and existing + new > most:
        text = f"{destination.name} has {existing:,} dead letters and keeps {most:,}; {new:,} more are too many"
        raise ImportRefused(f"{text}: raise dead_letters, or replay or purge some first")


def _read(targets: Sequence[Target], lines: Lines, now_ms: int) -> Iterator[_Read]:
    """Yield each dead letter with the name of its destination. Raises ImportRefused."""
    return (read() for read in _reads(targets, lines, now_ms))


def _reads(targets: Sequence[Target], lines: Lines, now_ms: int) -> Iterator[Callable[[], _Read]]:
    """Yield for each line a function that returns its dead letter, or raises ImportRefused."""
    for number, text in enumerate(lines(), start=1):
        if text.strip():
            yield partial(_read_line, targets, number, text, now_ms)


def _read_line(targets: Sequence[Target], number: int, text: bytes, now_ms: int) -> _Read:
    line = _validated(number, text)
    destinations = {destination.name: destination for _, destination in targets}
    destination = targets[0][1] if len(targets) == 1 else destinations.get(line.destination or "")
    if destination is None:
        names = ", ".join(destinations)
        raise ImportRefused(f"names none of the destinations {names}; say --destination", number)
    try:
        return destination.name, _imported(line, destination, now_ms)
    except (TypeError, ValueError, RecursionError) as error:
        raise ImportRefused(f"cannot be stored: {error}", number) from None


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
        members = orjson.loads(text.removeprefix(BOM_UTF8))
        if has_more_levels(members, _MOST_LEVELS):
            raise ImportRefused(f"is nested in more than {_MOST_LEVELS} levels", number)
        if isinstance(members, dict) and "why" in members and "failure" not in members:
            raise ImportRefused(
                'was exported by an older version of Segue: it has "why" and "again" in place of "failure" and '
                '"requeued"',
                number,
            )
        line = _LINE.validate_python(members)
    except orjson.JSONDecodeError as error:
        raise ImportRefused(f"is not JSON ({utf8_fault(text) or error})", number) from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "it"
        raise ImportRefused(fault["msg"], number, where) from None
    if any(fault.request is not None and fault.path is None for fault in line.failure.faults):
        raise ImportRefused("a fault with a request needs a path", number, "failure.faults")
    return line
