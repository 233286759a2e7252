"""The commands `segue shadow` and `segue cutover`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console import times
from console.errors import CommandError
from console.moving import plan, report, requests_file, screen
from console.moving.differences import compared, without_repetitions
from console.options import AsJson, Destination
from console.output import print_json, print_lines
from console.session import Session
from console.state import configurations, history
from mapping.envelope import JsonObject

if TYPE_CHECKING:
    from ledger.rows import Row

shadow = typer.Typer(help="What shadow events would have sent.", no_args_is_help=True)
cutover = typer.Typer(help="Take over from another destination at a moment.", no_args_is_help=True)

Since = Annotated[
    int | None,
    typer.Option("--since", parser=times.past, metavar=times.METAVAR, help="Since this time, or so long ago."),
]
Until = Annotated[
    int | None, typer.Option("--until", parser=times.past, metavar=times.METAVAR, help="Before this time.")
]
Most = Annotated[int, typer.Option(min=1, max=5_000_000, help="How many rows of the ledger to read: the last ones.")]
_MOST = 200_000
_SENT = ("delivered", "shadowed")


@shadow.command(name="report")
def show_report(
    against: Annotated[
        str | None, typer.Option(help="Compare with what this destination sent for the same events.")
    ] = None,
    since: Since = None,
    until: Until = None,
    most: Most = _MOST,
    destination: Destination = None,
    as_json: AsJson = False,
) -> None:
    """Show what shadow events would have sent, and what would be refused. Exit code 1 when anything is refused, or
    differs from the other destination, and when the ledger has no row."""
    session = Session.join()
    name = session.only(destination).name
    rows = _rows(session, name, since, until, most)
    found = report.gather(rows, name)
    differences: JsonObject | None = None
    if against is not None:
        session.chosen(against)
        if against == name:
            raise CommandError(f"--against: {name} is the destination itself; name another one")
        theirs = report.operations(_rows(session, against, since, until, most), _SENT)
        differences = compared(report.operations(rows, _SENT), theirs).json()
    _show(found, differences, against or "", as_json)


@shadow.command(name="compare")
def compare(
    file: Annotated[
        str,
        typer.Argument(
            help='JSON lines {"message_id", "method", "path", "body"} of the other destination; - is stdin.'
        ),
    ],
    since: Since = None,
    until: Until = None,
    most: Most = _MOST,
    destination: Destination = None,
    as_json: AsJson = False,
) -> None:
    """Compare what shadow events would have sent with the requests of another destination. Exit code 1 when one
    differs, or is of an event for which nothing would be sent. Events that are not in the file are left out, and
    requests that repeat an earlier one count once."""
    session = Session.join()
    name = session.only(destination).name
    stream = sys.stdin.buffer if file == "-" else Path(file).open("rb")  # noqa: SIM115 - `read` closes it
    theirs = requests_file.read(file, stream)
    rows = _rows(session, name, since, until, most)
    ours, decided = report.operations(rows, _SENT), {row.message_id for row in rows}
    known = {message_id: ours.get(message_id, []) for message_id in theirs if message_id in decided}
    if not known:
        raise CommandError(f"{file}: no message id of the file is among those of {name} in the ledger")
    once, repeated = without_repetitions({message_id: theirs[message_id] for message_id in known}, known)
    outside = {"not_in_the_ledger": len(theirs) - len(known), "repeated": repeated}
    differences = compared(known, once).json()
    _show(report.gather(rows, name) | outside, differences, file, as_json)


def _rows(session: Session, name: str, since: int | None, until: int | None, most: int) -> list[Row]:
    history.require(session)
    from ledger.reading import Wanted

    return history.find(session, name, Wanted(since_ms=since, until_ms=until), most)


def _show(found: JsonObject, differences: JsonObject | None, theirs: str, as_json: bool) -> None:
    if as_json:
        print_json(found if differences is None else found | {"against": theirs, "comparison": differences})
    else:
        print_lines(screen.report_lines(found))
        if differences is not None:
            print_lines(screen.difference_lines(differences, theirs))
    is_refused = found["refused_by_mapping"] or found["refused_by_customerio"]
    if found["since"] is None or is_refused or (differences and differences["differences"]):
        raise typer.Exit(1)


@cutover.callback()
def _cutover() -> None:
    """Keep the name of the only command."""


@cutover.command(name="plan")
def show_plan(destination: Destination = None, as_json: AsJson = False) -> None:
    """Print the steps, and the filter with which the old destination drops exactly what Segue sends."""
    session = Session.join()
    found = plan.gather(session.only(destination), configurations.gather(session), int(time.time() * 1000))
    print_json(found) if as_json else print_lines(plan.lines(found))
