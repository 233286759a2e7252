"""The first stage: the input is read, checked, and written to sorted runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from threading import Event as Flag
from typing import Any, NamedTuple

from console.send import readers, sorting
from console.send.checking import Checked, checked, parsed
from console.send.checkpoint import Checkpoint, Folder
from console.send.endpoint import Stopped
from console.send.inputs import Input
from console.send.people_csv import Columns, Row
from console.send.progress import Progress
from console.send.readers import Fault
from console.send.rejects import Rejects
from console.send.sorting import Buffer, Event, Position
from ingest.errors import Refusal


class Source(NamedTuple):
    """What is sent: files of JSON events, or of CSV with these columns."""

    inputs: Sequence[Input]
    columns: Columns | None


class Found(NamedTuple):
    """A record of a file: an event that can be sent, or why it cannot."""

    file: int
    number: int
    result: Checked | Rejected


class Rejected(NamedTuple):
    """Why a record is not sent, and the member at fault."""

    reason: str
    field: str | None = None


def found(source: Source, file: int = 0, number: int = 0) -> Iterator[Found]:
    """Yield the records behind a record of a file, in the order of the files."""
    for index, each in enumerate(source.inputs):
        if index < file:
            continue
        with readers.opened(each.open()) as reader:
            records: Iterator[readers.Record | Row | Fault]
            records = readers.records(reader) if source.columns is None else source.columns.rows(each.name, reader)
            for record in readers.guarded(records):
                if index > file or record.number > number:
                    yield Found(index, record.number, _result(record, each))


def _result(record: readers.Record | Row | Fault, file: Input) -> Checked | Rejected:
    if isinstance(record, Fault):
        return Rejected(record.reason)
    try:
        event: Any = record.event if isinstance(record, Row) else parsed(record.text)
        return checked(event, file, record.number, datetime.now(UTC))
    except Refusal as refusal:
        return Rejected(refusal.message, refusal.field)


class Preparation:
    """Writes the events of a source to runs, and records after each of them how far the source was read."""

    def __init__(self, folder: Folder, checkpoint: Checkpoint, rejects: Rejects, run_bytes: int) -> None:
        self._folder = folder
        self._checkpoint = checkpoint
        self._rejects = rejects
        self._buffer = Buffer(run_bytes)

    def run(self, source: Source, stopping: Flag, progress: Progress) -> None:
        """Go on to the end of the source. Raises Stopped, after what was read is durable."""
        state = self._checkpoint
        self._folder.remove_other_runs(state.runs)
        for each in found(source, state.file, state.number):
            self._add(each, source)
            if self._buffer.is_full:
                self._save()
            progress.read(state.tally.events + state.tally.rejected)
            if stopping.is_set():
                self._save()
                raise Stopped
        state.stage = "sending"
        self._save()

    def merge_runs(self, stopping: Flag) -> None:
        """Merge runs until few enough are left to be read at once. Raises Stopped; the runs are as they were then."""
        state, folder = self._checkpoint, self._folder.runs
        while len(state.runs) > sorting.MOST_RUNS:
            first, others = state.runs[: sorting.MOST_RUNS], state.runs[sorting.MOST_RUNS :]
            name, events = self._new_name(), sorting.merged([folder / each for each in first], sorting.START)
            sorting.write(folder / name, _until(stopping, events))
            state.runs = [*others, name]
            self._folder.save(state)
            self._folder.remove_other_runs(state.runs)

    def _add(self, record: Found, source: Source) -> None:
        state, result = self._checkpoint, record.result
        state.file, state.number = record.file, record.number
        if isinstance(result, Rejected):
            state.tally.rejected += 1
            self._rejects.add(source.inputs[record.file].name, record.number, result.field, result.reason)
        else:
            state.tally.add(result, _now_ms())
            position = Position(result.happened_ms, record.file, record.number)
            self._buffer.add(Event(position, result.body))

    def _save(self) -> None:
        state = self._checkpoint
        if self._buffer:
            name = self._new_name()
            self._buffer.write(self._folder.runs / name)
            state.runs.append(name)
        state.rejects_bytes = self._rejects.sync()
        self._folder.save(state)

    def _new_name(self) -> str:
        self._checkpoint.runs_made += 1
        return f"run-{self._checkpoint.runs_made}"


def _until(stopping: Flag, events: Iterator[Event]) -> Iterator[Event]:
    for event in events:
        if stopping.is_set():
            raise Stopped
        yield event


def _now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)
