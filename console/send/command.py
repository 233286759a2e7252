"""The command `segue send`."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from threading import Event as Flag
from typing import Annotated, NamedTuple

import httpx
import typer
from redis.exceptions import RedisError

import lanes
from console.errors import CommandError
from console.local import programs
from console.output import counted, print_error, print_line, print_lines
from console.send import inputs, report, sorting
from console.send.backlog import Backlog
from console.send.checkpoint import Checkpoint, Folder
from console.send.endpoint import Endpoint, Stopped
from console.send.inputs import CSV_SUFFIXES, JSON_SUFFIXES, WORK_SUFFIX
from console.send.pace import Pace
from console.send.people_csv import Columns
from console.send.preparing import Preparation, Rejected, Source, found
from console.send.progress import Progress
from console.send.rejects import Rejects
from console.send.sending import Transfer
from console.send.tally import Tally
from console.session import Session
from console.state import shadow
from ingest.access import sources

app = typer.Typer()

Kind = Enum("Kind", {"identify": "identify"})
_SHOWN_EVENTS, _SHOWN_REJECTS = 3, 10
_NICE = 10
_MOST_RATE = 1_000_000
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class _Target(NamedTuple):
    """Where the events go."""

    url: str
    write_key: str
    queues: list[lanes.Queue]  # those of the source, where they are known


@app.command(name="send")
def send(
    location: Annotated[
        str, typer.Argument(metavar="FILE|DIR|s3://…", help="JSON lines, JSON arrays, or CSV; with gzip or without.")
    ],
    url: Annotated[str | None, typer.Option(help="The ingest endpoint. Default: that of the settings.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Send as this source of the configuration. Default: the first.")
    ] = None,
    write_key: Annotated[str | None, typer.Option(help="The write key, in place of --source.")] = None,
    write_key_file: Annotated[Path | None, typer.Option(help="A file with the write key.")] = None,
    rate: Annotated[float, typer.Option(min=1, max=_MOST_RATE, help="Events per second, at most.")] = 500,
    kind: Annotated[
        Kind | None, typer.Option("--type", help="The input is CSV, and each row is such an event.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="COLUMN=PATH, such as id=userId; COLUMN= leaves it out. Repeatable.")
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="The directory of the checkpoint. Default: the name of the input with .segue.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check the input, and send nothing.")] = False,
) -> None:
    """Send history in the order of its times. The same command goes on where it was stopped or killed.

    The exit code is 0 when all events were sent, 1 when some were rejected, and 2 when the command could not go on.
    """
    work = work or _default_work(location)
    material = _source(location, work, kind, column or [])
    if dry_run:
        _show(material, rate)
        return
    target = _target(url, source, write_key, write_key_file)
    _yield_processors()
    with _stopping() as stopping, _space_needed(work):
        checkpoint, folder = _transfer(material, target, work, rate, stopping)
    if checkpoint.rejected:
        print_error(f"{counted(checkpoint.rejected, 'record')} rejected: see {folder.rejects}")
        raise typer.Exit(1)


def _transfer(material: Source, target: _Target, work: Path, rate: float, stopping: Flag) -> tuple[Checkpoint, Folder]:
    """Prepare and send what the checkpoint does not have yet. Raises CommandError: also when a signal stops it."""
    folder = Folder(work)
    with folder.locked():
        state = folder.load(_digest(material), target.url)
        if state.stage == "done":
            print_line(f"this input was sent before; remove {work} to send it again")
            return state, folder
        with Rejects(folder.rejects, state.rejects_bytes) as rejects, Progress() as progress:
            try:
                preparation = Preparation(folder, state, rejects, sorting.RUN_BYTES)
                if state.stage == "reading":
                    preparation.run(material, stopping, progress)
                    print_lines([*report.contents(state.tally), *report.campaigns(state.tally)])
                preparation.merge_runs(stopping)
                pace = Pace(rate, time.monotonic)
                backlog = Backlog(target.queues, rate) if target.queues else None
                with Endpoint(target.url, target.write_key, stopping, pace.slow_down) as endpoint:
                    transfer = Transfer(folder, state, rejects, material.inputs, rate)
                    transfer.run(endpoint, pace, backlog, stopping, progress)
            except Stopped:
                done = f"{state.acknowledged:,} of {state.tally.events:,} events were sent"
                if state.stage == "reading":
                    done = f"{counted(state.tally.events + state.tally.rejected, 'record')} read, and nothing was sent"
                raise CommandError(f"stopped by a signal: {done}; the same command goes on") from None
        print_line(f"sent {counted(state.acknowledged - state.refused, 'event')}")
    return state, folder


def _show(material: Source, rate: float) -> None:
    """Print what a transfer would send. Raises typer.Exit: some records would be rejected."""
    tally, now_ms = Tally(), int(time.time() * 1000)
    for each in found(material):
        result = each.result
        if isinstance(result, Rejected):
            tally.rejected += 1
            if tally.rejected <= _SHOWN_REJECTS:
                print_error(f"{material.inputs[each.file].name}:{each.number}: {result.reason}")
            continue
        tally.add(result, now_ms)
        if tally.events <= _SHOWN_EVENTS:
            print_line(result.body.decode())
    if tally.rejected > _SHOWN_REJECTS:
        print_error(f"… and {tally.rejected - _SHOWN_REJECTS:,} more")
    print_lines([*report.contents(tally), *report.campaigns(tally), report.expected(tally.events, rate)])
    print_line("nothing was sent")
    if tally.rejected:
        raise typer.Exit(1)


def _source(location: str, work: Path, kind: Kind | None, columns: list[str]) -> Source:
    if kind is None and columns:
        raise CommandError("--column needs --type identify")
    if kind is None and location.lower().endswith((".csv", ".csv.gz")):
        raise CommandError(f"{location}: CSV needs --type identify")
    found_files = inputs.find(location, JSON_SUFFIXES if kind is None else CSV_SUFFIXES, work)
    if found_files.skipped:
        more = f", such as {found_files.skipped[0]}"
        print_error(f"{counted(len(found_files.skipped), 'file')} with other names skipped{more}")
    return Source(found_files.inputs, None if kind is None else Columns(columns))


def _digest(material: Source) -> str:
    columns = "json" if material.columns is None else material.columns.text
    return f"{inputs.digest(material.inputs)} {columns}"


def _default_work(location: str) -> Path:
    """Return a directory beside a file or directory; for an address, one in the working directory."""
    if "://" in location:
        return Path(location.rstrip("/").rpartition("/")[2] + WORK_SUFFIX)
    path = Path(location).resolve()
    return path.with_name(f"{path.name}{WORK_SUFFIX}")


def _target(url: str | None, source: str | None, write_key: str | None, file: Path | None) -> _Target:
    """Return the endpoint and the key. Without an address also the queues behind it. Raises CommandError."""
    if sum(each is not None for each in (source, write_key, file)) > 1:
        raise CommandError("--source, --write-key and --write-key-file exclude one another")
    if url is not None:
        _check_address(url)
    if file is not None:
        write_key = _key_of(file)
    session = Session.join()
    known = sources.sources(session.document)
    if write_key is None:
        named = next((each for each in known if source in (None, each.name)), None)
        if named is None:
            raise CommandError(f"there is no source {source or ''}; name one with --source, or give --write-key-file")
        write_key = named.write_key
    feeds = [name for each in known if each.write_key == write_key for name in each.destinations]
    for name in feeds:
        if sends := shadow.describe(session.destinations[name]):
            print_error(f"warning: {name}: {sends}")
    if url is not None:
        return _Target(url.rstrip("/"), write_key, [])
    local = programs.url(session.settings.host, session.settings.ingest_port)
    return _Target(local, write_key, _queues(session, feeds))


def _check_address(url: str) -> None:
    """Raise CommandError when requests cannot be sent to the address."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise CommandError(f"--url {url}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.host:
        raise CommandError(f"--url {url}: must be an address such as https://events.example.com")


def _key_of(file: Path) -> str:
    """Return the write key that a file contains. Raises CommandError: there is none."""
    try:
        key = file.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        key = ""
    if not key:
        raise CommandError(f"--write-key-file {file}: must have the write key alone, as text")
    return key


def _queues(session: Session, names: list[str]) -> list[lanes.Queue]:
    try:
        return session.queues(names)
    except RedisError:  # the endpoint refuses events then
        return []


def _yield_processors() -> None:
    """Let the processes of live events on this machine go first."""
    os.setpriority(os.PRIO_PROCESS, 0, max(_NICE, os.getpriority(os.PRIO_PROCESS, 0)))


@contextmanager
def _space_needed(work: Path) -> Iterator[None]:
    """Raise CommandError in place of an error of a full disk, which names no file."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        text = f"the working directory {work} cannot be written: {error.strerror}"
        raise CommandError(f"{text}; make room, and the same command goes on") from None


@contextmanager
def _stopping() -> Iterator[Flag]:
    """Yield a flag that SIGINT and SIGTERM set."""
    flag = Flag()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: flag.set()) for number in numbers]
    try:
        yield flag
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
