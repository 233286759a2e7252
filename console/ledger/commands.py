"""The commands `segue ledger`, `segue people` and `segue events`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from console import times
from console.options import AsJson, Destination, MessageId
from console.output import print_error, print_json, print_json_lines, print_line, print_lines
from console.person import as_of
from console.queues import ordering_key, waiting
from console.session import Session
from console.starting import startable
from console.state import history
from delivery.recording import entries
from ingest.access import sources

if TYPE_CHECKING:
    from ledger.reading import Wanted

app = typer.Typer(help="Write the ledger of all requests, or query it.")
people = typer.Typer(help="What became of a person's events.", no_args_is_help=True)
events = typer.Typer(help="What became of an event.", no_args_is_help=True)

# Of an item, and of an event for which nothing was sent: those of docs/ledger.md.
OUTCOMES: Final = (*entries.OUTCOMES.values(), "filtered", "unmatched", "dropped", "dead", "discarded")


def _outcome(text: str) -> str:
    if text not in OUTCOMES:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(OUTCOMES)}")
    return text


Most = Annotated[int, typer.Option(min=1, max=100_000, help="How many rows to show: the last ones.")]
SinceSent = Annotated[
    int | None,
    typer.Option(
        "--since", parser=times.past, metavar=times.METAVAR, help="Sent at this time or later, or so long ago."
    ),
]
UntilSent = Annotated[
    int | None, typer.Option("--until", parser=times.past, metavar=times.METAVAR, help="Sent before this time.")
]


@app.callback(invoke_without_command=True)
def write(context: typer.Context) -> None:
    """Write the ledger: move what workers recorded from Redis to Parquet files. One process does it for all workers."""
    if context.invoked_subcommand is not None:
        return
    session = startable()
    history.require(session)
    from console.ledger import process

    process.run(session.settings, history.storage_of(session))


@app.command()
def query(
    person: Annotated[str | None, typer.Option(help="Of this ordering key, or digest:DIGEST.")] = None,
    message_id: Annotated[str | None, typer.Option(help="Segment's messageId, or SOURCE:MESSAGE-ID.")] = None,
    request_id: Annotated[str | None, typer.Option(help="The id of a request, as rows have it.")] = None,
    since: SinceSent = None,
    until: UntilSent = None,
    outcome: Annotated[
        list[str] | None,
        typer.Option(parser=_outcome, metavar="OUTCOME", help=f"One of {', '.join(OUTCOMES)}; repeatable."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="The source of the event.")] = None,
    text: Annotated[str | None, typer.Option(help="A part of the reason.")] = None,
    most: Most = 50,
    destination: Destination = None,
    as_json: AsJson = False,
) -> None:
    """Show the last rows that meet all conditions. Without a person or an id this may read many files."""
    session = Session.join()
    history.require(session)
    from ledger.reading import Wanted

    wanted = Wanted(
        digests=None if person is None else frozenset([_digest(session, "--person", person)]),
        message_id=message_id,
        request_id=request_id,
        since_ms=since,
        until_ms=until,
        outcomes=frozenset(outcome) if outcome else None,
        source=source,
        text=text,
    )
    _show(session, destination, wanted, "the query", most, as_json)


@people.command(name="show")
def show_person(
    key: Annotated[str, typer.Argument(help="An ordering key, such as id:42 or email:jo@example.com, or its digest.")],
    since: SinceSent = None,
    until: UntilSent = None,
    at: Annotated[
        int | None, typer.Option(parser=times.past, metavar=times.METAVAR, help="The person as of this moment.")
    ] = None,
    most: Most = 50,
    destination: Destination = None,
    as_json: AsJson = False,
) -> None:
    """Show what was sent for a person with the answers, and for which events nothing was sent and why.

    With `--at` it shows the attributes, devices and events that what was sent until then gives the person. `segue lanes
    show` has what waits. Events of the person under other identities have rows of their own.
    """
    session = Session.join()
    history.require(session)
    if at is not None:
        for name in session.chosen(destination):
            found = as_of.gather(session, name, _digest(session, "KEY", key), [at])
            print_json(found) if as_json else print_lines(as_of.lines(found))
        return
    from ledger.reading import Wanted

    wanted = Wanted(digests=frozenset([_digest(session, "KEY", key)]), since_ms=since, until_ms=until)
    _show(session, destination, wanted, key, most, as_json)


@events.command(name="show")
def show_event(
    message_id: MessageId,
    most: Most = 50,
    destination: Destination = None,
    as_json: AsJson = False,
) -> None:
    """Show every request for an event with the answers, or why nothing was sent. Exit code 1 when it is unknown.

    Without a row, the queue and its message ids are searched as `segue lanes find` does.
    """
    session = Session.join()
    history.require(session)
    from ledger.reading import Wanted

    if not _show(session, destination, Wanted(message_id=message_id), message_id, most, as_json):
        names, found = [source.name for source in sources.sources(session.document)], False
        for name in session.chosen(destination):
            for row in waiting.find(session, name, names, message_id):
                found = True
                print_json(row) if as_json else print_line(waiting.found_line(row))
        if not found:
            print_error(f"{message_id}: no event with this message id is known")
            raise typer.Exit(1)


def _show(session: Session, destination: str | None, wanted: Wanted, what: str, most: int, as_json: bool) -> bool:
    """Print the rows of each destination, and return whether there are any."""
    is_found = False
    for name in session.chosen(destination):
        found = history.find(session, name, wanted, most)
        is_found = is_found or bool(found)
        if as_json:
            print_json_lines({"destination": name, **history.row_json(row)} for row in found)
        else:
            print_lines(history.lines(session, name, found, what))
    return is_found


def _digest(session: Session, name: str, key: str) -> str:
    """Return the digest of an ordering key in hexadecimal. Raises CommandError: no event may have the key."""
    ordering_key.faults(name, key, (each.identifiers for each in session.destinations.values()))
    return ordering_key.digest(key).hex()
