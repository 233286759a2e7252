"""The commands of `segue lanes`."""

from __future__ import annotations

from typing import Annotated

import typer

import lanes
from console import lanes_view
from console.errors import CommandError
from console.options import AsJson, Destination
from console.output import print_json, print_line, print_lines
from console.session import Session, setting_of
from workers import heartbeat

app = typer.Typer(help="Inspect and configure the ordered queue.", no_args_is_help=True)


@app.command()
def show(
    key: Annotated[str, typer.Argument(help="An ordering key: id:42, email:jo@example.com, anonymous_id:…")],
    destination: Destination = None,
    as_json: AsJson = False,
) -> None:
    """Show why the events of a person wait, and what was sent for the person recently."""
    session = Session.join()
    found = [lanes_view.gather(queue, key) for queue in session.queues(session.chosen(destination))]
    if as_json:
        print_json(found)
        return
    for lane in found:
        print_lines(lanes_view.render(lane))


@app.command()
def configure(destination: Destination = None) -> None:
    """Store the queue-wide values of this environment beside the queue. Stop ingest and the workers first.

    The values are SEGUE_SETTLE_S, SEGUE_DEDUPE_S, SEGUE_QUEUE_LIMIT, and `remember_days` of the destination.
    """
    session = Session.join()
    running = heartbeat.count(session.client)
    if running:
        raise CommandError(f"{running:,} workers are running; stop ingest and every worker first")
    for name in session.chosen(destination):
        changes = lanes.configure_queue(session.own_queue(name))
        for value, (before, now) in changes.items():
            setting, (old, new) = setting_of(name, value, before, now)
            print_line(f"{name}: {setting} was {old} and is {new}")
        if not changes:
            print_line(f"{name}: nothing to change")


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
