"""The commands of `segue lanes`."""

from __future__ import annotations

from typing import Annotated

import typer

import lanes
from console.confirmation import confirm
from console.dead import listing
from console.options import AsJson, Destination, MessageId, Yes
from console.output import counted, out, print_error, print_json, print_json_lines, print_line, print_lines
from console.queues import draining, lanes_view, waiting
from console.session import Session
from ingest.access import sources

app = typer.Typer(help="Inspect and configure the ordered queue.", no_args_is_help=True)


@app.command()
def show(
    key: Annotated[str, typer.Argument(help="An ordering key, such as id:42 or email:jo@example.com, or its digest.")],
    destination: Destination = None,
    as_json: AsJson = False,
) -> None:
    """Show why the events of a person wait, the person's dead letters, and what was sent for the person recently."""
    session = Session.join()
    found = lanes_view.gather(session, session.chosen(destination), key)
    if as_json:
        print_json(found)
        return
    for lane in found:
        print_lines(lanes_view.render(lane))


@app.command(name="list")
def list_events(
    destination: Destination = None,
    person: Annotated[str | None, typer.Option(help="Of this ordering key: id:42, email:jo@example.com, …")] = None,
    source: Annotated[str | None, typer.Option(help="The source of the event.")] = None,
    event: Annotated[str | None, typer.Option(help="The name or the type of the event.")] = None,
    most: Annotated[int, typer.Option(min=1, help="How many events to list.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the waiting events that were accepted first, with their states. Without --person this reads all of them."""
    session, wanted = Session.join(), waiting.Wanted(source, event)
    digest = listing.filter_of(person=person).digest
    rows = [
        waiting.event_json(found, session.destinations[queue.name])
        for queue in session.queues(session.chosen(destination))
        for found in waiting.find_waiting(queue, digest, wanted, most)
    ]
    print_json_lines(rows) if as_json else out.print(waiting.render(rows))


@app.command()
def find(
    message_id: MessageId,
    destination: Destination = None,
    as_json: AsJson = False,
) -> None:
    """Find an event by its message id: waiting, a dead letter, sent, or finished. Exit code 1 when it is unknown.

    This reads whole queues and delivery logs. A message id is remembered for SEGUE_DEDUPE_S.
    """
    session = Session.join()
    names = [source.name for source in sources.sources(session.document)]
    is_found = False
    for name in session.chosen(destination):
        for row in waiting.find(session, name, names, message_id):
            is_found = True
            print_json(row) if as_json else print_line(waiting.found_line(row))
    if not is_found:
        print_error(f"{message_id}: no event with this message id is known")
        raise typer.Exit(1)


@app.command()
def skip(
    sequence: Annotated[int, typer.Argument(help="The number of the event, as `segue lanes list` prints it.")],
    destination: Destination = None,
    yes: Yes = False,
) -> None:
    """Discard one waiting event for good; the events behind it go on. Asks for confirmation."""
    session = Session.join()
    queue = session.queue(session.only(destination).name)
    if confirm(f"event {sequence} of {queue.name}", "discarded", yes):
        print_line(f"event {sequence} of {queue.name} {waiting.skip(queue, sequence)}")
    else:
        print_line("nothing was discarded")


@app.command()
def configure(
    destination: Destination = None,
    apply: Annotated[bool, typer.Option("--apply", help="Store the values of this environment.")] = False,
) -> None:
    """Print the queue-wide values that are stored beside the queue, and those of this environment.

    The values are SEGUE_SETTLE_S, SEGUE_DEDUPE_S, SEGUE_QUEUE_LIMIT, and `remember_days` of the destination. With
    `--apply` those of this environment are stored. Stop ingest and the workers before. Message ids, joins, merges and
    deletions stay remembered.
    """
    session = Session.join()
    for name in session.chosen(destination):
        queue = session.own_queue(name)
        if apply:
            print_lines(lanes_view.changed_lines(name, lanes.reconfigure(queue)))
        else:
            print_lines(lanes_view.config_lines(name, lanes.stored_config(session.client, name), queue.config))


@app.command()
def verify(destination: Destination = None, as_json: AsJson = False) -> None:
    """Check every invariant of a queue, beside live traffic. Exit code 1 when one does not hold.

    Each line names an object and what does not hold. `--json` prints a line for each queue: `{"destination", "checked",
    "violations": [{"object", "invariant", "text"}]}`.
    """
    session = Session.join()
    found = [(queue.name, lanes.verify(queue)) for queue in session.queues(session.chosen(destination))]
    for name, verification in found:
        if as_json:
            print_json(lanes_view.verification_json(name, verification))
        else:
            print_lines(lanes_view.verification_lines(name, verification))
    if any(verification.violations for _, verification in found):
        raise typer.Exit(1)


@app.command()
def move(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A queue whose destination is no longer configured.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The destination that gets its events.")],
    as_json: AsJson = False,
) -> None:
    """Move the events and the dead letters of a queue without a destination to another one, in order per person.

    An interrupted move is continued by the same command; nothing is lost or moved twice. Dead letters that block are
    tried again at TO, in their positions.
    """
    session = Session.join()
    (name,) = session.chosen(target)
    queue, _ = draining.stranded(session, source)
    moved = draining.move(queue, session.new_queue(name), session.destinations[name])
    if as_json:
        print_json(moved)
        return
    more = f"; {name} had {moved['duplicates']:,} already" if moved["duplicates"] else ""
    numbers = f"{counted(moved['events'], 'event')} and {counted(moved['dead_letters'], 'dead letter')}"
    print_line(f"{numbers} moved from {source} to {name}{more}")


@app.command()
def discard(
    source: Annotated[str, typer.Argument(metavar="QUEUE", help="A queue whose destination is no longer configured.")],
    yes: Yes = False,
) -> None:
    """Discard the events and the dead letters of a queue without a destination, for good. Asks for confirmation."""
    queue, found = draining.stranded(Session.join(), source)
    numbers = f"{counted(found.waiting, 'event')} and {counted(found.dead, 'dead letter')}"
    if not (found.waiting or found.dead):
        print_line(f"queue {source} has no events and no dead letters")
    elif confirm(f"{numbers} of queue {source}", "discarded", yes):
        discarded = draining.discard(queue)
        numbers = f"{counted(discarded['events'], 'event')} and {counted(discarded['dead_letters'], 'dead letter')}"
        print_line(f"{numbers} discarded")
    else:
        print_line("nothing was discarded")
