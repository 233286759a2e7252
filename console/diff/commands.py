"""The command `segue diff`."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

import mapping
from console import checking
from console.cases import files
from console.diff.comparison import KINDS
from console.diff.report import report
from console.errors import CommandError
from console.options import AsJson, Destination
from console.output import out, print_json, print_line
from console.send import readers
from console.session import Session
from dead_letters import query
from ingest import events
from ingest.errors import Refusal
from ingest.events import Reception
from mapping.envelope import utf8_fault
from series import recent_events
from settings import read_document

app = typer.Typer()

FailOn = Enum("FailOn", {kind: kind.replace("_", "-") for kind in (*KINDS, "any")})  # type: ignore[misc]


@app.command(name="diff")
def show_differences(
    old: Annotated[Path, typer.Argument(help="A TOML file, such as the present configuration.")],
    new: Annotated[Path, typer.Argument(help="The TOML file that is to replace it.")],
    file: Annotated[
        str | None,
        typer.Option(
            "--events",
            metavar="FILE|DIR",
            help="JSON lines of events, or of `segue dead export`; case files, or a directory of them; - is stdin.",
        ),
    ] = None,
    destination: Destination = None,
    fail_on: Annotated[
        list[FailOn] | None, typer.Option(help="Exit with 1 when there is a difference of this kind; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what another configuration makes of the same events. Sends nothing.

    The events are those of a file, else the recent events and the dead letters of the destination. Requests are
    unchanged, changed, newly sent, no longer sent, or newly refused by the mapping.
    """
    now_s = time.time()
    before, after = _destinations(old), _destinations(new)
    if destination is not None and destination not in after:
        raise CommandError(f'there is no destination "{destination}" in {new}; there are {", ".join(after)}')
    names = [name for name in after if name in before and destination in (None, name)]
    if not names:
        raise CommandError(f"no destination of {new} is in {old}: {', '.join(before)}; rename one, or say another")
    given = None if file is None else list(_read(file, now_s))
    reports = [report(before[name], after[name], _stored(name) if given is None else given, now_s) for name in names]
    for result in reports:
        if as_json:
            print_json(result.json())
        else:
            for line in result.render():
                out.print(line, soft_wrap=True)
    alone = sorted(before.keys() ^ after.keys()) if destination is None else []
    for name in alone if not as_json else []:
        print_line(f"{name}: only in {old if name in before else new}, so it was not compared")
    if fail_on and not any(result.events for result in reports):
        raise CommandError("there is no event to compare, so --fail-on finds nothing; name a file with --events")
    kinds = {group.kind for result in reports for group in result.groups.values()}
    kinds |= {"no_longer_sent" if name in before else "newly_sent" for name in alone}
    if kinds and {each.name for each in fail_on or []} & {*kinds, "any"}:
        raise typer.Exit(1)


def _destinations(file: Path) -> dict[str, mapping.Destination]:
    document = read_document(file)
    faults = checking.faults(document)
    if faults:
        raise CommandError("\n".join(f"{file}: {fault}" for fault in faults))
    return dict(mapping.destinations(document))


def _stored(name: str) -> Iterator[Any]:
    """Yield the recent events of a destination, and the events of its dead letters."""
    session = Session.join()
    (queue,) = session.queues(session.chosen(name))
    yield from (recent.event for recent in recent_events.read(queue))
    yield from query.events(queue)


def _read(file: str, now_s: float) -> Iterator[Any]:
    """Yield the events of a file or a directory, as ingest stores them. Raises CommandError: a value is none."""
    reception = Reception(datetime.fromtimestamp(now_s, UTC))
    paths = [file] if file == "-" or not Path(file).is_dir() else files.found([Path(file)])
    for where, value in itertools.chain.from_iterable(map(_values, paths)):
        is_within = isinstance(value, dict) and isinstance(value.get("event"), dict)
        try:
            yield events.completed(value["event"] if is_within else value, reception)[0]
        except Refusal as refusal:
            if not is_within:  # else a case that expects this: neither configuration sends anything
                raise CommandError(f"{where}: ingest refuses the event: {refusal}") from None


def _values(file: str | Path) -> Iterator[tuple[str, Any]]:
    """Yield each value of a file, and where it is: of one JSON text, as case files have it, else of JSON lines."""
    if Path(file).suffix == ".json":
        with suppress(files.Unreadable, UnicodeDecodeError):
            entries = list(files.entries_of(Path(file)))
            yield from ((f"{file}, line {entry.line}", entry.value) for entry in entries)
            return
    stream = sys.stdin.buffer if file == "-" else Path(file).open("rb")  # noqa: SIM115 - `opened` closes it
    with readers.opened(stream) as reader:
        for record in readers.guarded(readers.lines(reader)):
            where = f"{file}, line {record.number}"
            if isinstance(record, readers.Fault):
                raise CommandError(f"{where}: {record.reason}")
            try:
                value = orjson.loads(record.text)
            except orjson.JSONDecodeError as error:
                raise CommandError(f"{where}: is not JSON: {utf8_fault(record.text) or error}") from None
            yield where, value
