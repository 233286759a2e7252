"""Dead letters as lines, exported or spilled, and how they are taken in again: all of them, or none when one is bad."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import lanes
import mapping
from dead_letters import spill_files
from dead_letters.record import Reason
from mapping.envelope import JsonObject, pack

Lines = Callable[[], Iterator[bytes]]

_PAGE = 500


class ImportRefused(Exception):
    """The lines cannot be imported; the message names the line, and nothing was imported."""


Time = Annotated[int, Field(ge=0, lt=10**13)]  # Unix milliseconds


class _Strict(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Request(_Strict):
    subscription: str | None
    action: str
    path: Literal["/api/v2/entity", "/api/v1/metrics"]
    request: JsonObject


class _Fault(_Strict):
    message: str

    @model_validator(mode="after")
    def _has_a_whole_request(self) -> Self:
        if "request" in (self.model_extra or {}):
            _Request.model_validate(self.model_extra)
        return self


class _Kept(_Strict):
    """What a letter brings along when it is replayed, and what becomes of it then."""

    accepted_at_ms: Time = 0
    attempts: list[JsonObject] = []
    original: JsonObject = {}


class _Again(_Kept):
    requests: list[_Request] = []


class _Why(_Kept):
    reason: Reason = Field(alias="class", strict=False)
    message: str
    faults: list[_Fault]
    accepted: list[_Request] = []
    unsent: list[_Request] = []
    buried_at_ms: Time


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    destination: str | None = None
    sequence: int | None = Field(default=None, ge=1, lt=10**15)  # later ones are given from there on
    accepted_at_ms: Time | None = None
    source: str
    event: JsonObject
    again: _Again = _Again()
    why: _Why


def lines_of(file: Path) -> Lines:
    """Return a function that yields the lines of the file from its beginning: plain, or a spill file."""
    if file.suffix == ".zst":
        return lambda: spill_files.read(file)

    def plain() -> Iterator[bytes]:
        with file.open("rb") as opened:
            yield from opened

    return plain


@contextmanager
def spooled(stream: IO[bytes]) -> Iterator[Path]:
    """Yield a file with what can be read only once."""
    with tempfile.NamedTemporaryFile() as kept:
        shutil.copyfileobj(stream, kept)
        kept.flush()
        yield Path(kept.name)


def imported(queue: lanes.Queue, destination: mapping.Destination, lines: Lines, now_ms: int) -> tuple[int, int]:
    """Add the letters of the lines; return how many, and how many were there already.

    Raises ImportRefused, and adds nothing, naming the first line that is no letter; or when there would be too many.
    """
    try:
        count = sum(1 for _ in _read(destination, lines, now_ms))
    except spill_files.TornFile as error:
        raise ImportRefused(f"{error}; nothing was imported") from None
    there, most = lanes.count_dead_letters(queue)[0], destination.delivery.dead_letters
    if there + count > most:
        text = f"{destination.name} has {there:,} dead letters and keeps {most:,}; {count:,} more are too many"
        raise ImportRefused(f"{text}: raise dead_letters, or replay or purge some first; nothing was imported")
    read = _read(destination, lines, now_ms)
    added = 0
    while page := list(islice(read, _PAGE)):
        added += lanes.import_dead_letters(queue, page)
    return added, count - added


def _read(destination: mapping.Destination, lines: Lines, now_ms: int) -> Iterator[lanes.ImportedDeadLetter]:
    for number, text in enumerate(lines(), start=1):
        if text.strip():
            line, told = _line(number, text)
            yield lanes.ImportedDeadLetter(
                sequence=line.sequence if line.destination == destination.name else None,
                accepted_at_ms=line.why.buried_at_ms if line.accepted_at_ms is None else line.accepted_at_ms,
                keys=mapping.ordering_info(line.event, destination).keys,
                body=pack(line.source, line.event, told.get("again")),
                failure=orjson.dumps(told["why"] | {"imported_at_ms": now_ms}),
            )


def _line(number: int, text: bytes) -> tuple[_Line, JsonObject]:
    try:
        told = orjson.loads(text)
        return _Line.model_validate(told), told
    except orjson.JSONDecodeError as error:
        raise ImportRefused(f"line {number} is not JSON ({error}); nothing was imported") from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "it"
        form = '{"source": …, "event": {…}, "why": {…}}'
        text_of_fault = f"line {number} is not a dead letter like {form}: {where}: {fault['msg']}"
        raise ImportRefused(f"{text_of_fault}; nothing was imported") from None
