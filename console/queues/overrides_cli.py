"""The commands `segue pause`, `segue resume` and `segue rate`: what an operator sets for a destination by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from console import times
from console.errors import CommandError
from console.operator import operator
from console.output import print_line, utc
from console.session import Session
from delivery import overrides

app = typer.Typer()

Name = Annotated[str, typer.Argument(metavar="DESTINATION", help="The name of the destination.")]


@app.command()
def pause(
    destination: Name,
    why: Annotated[str, typer.Option(help="The reason, which `segue status` shows.")],
    until: Annotated[
        int | None,
        typer.Option(parser=times.future, metavar=times.METAVAR, help="When the pause ends by itself: 30m, or a time."),
    ] = None,
) -> None:
    """Send nothing to a destination until `segue resume`, or until a time. Its events are accepted and wait.

    Workers follow at once, and need no restart. A request that is under way ends.
    """
    session = Session.join()
    (name,) = session.chosen(destination)
    if not why.strip():
        raise CommandError("--why is empty: give the reason, which `segue status` shows")
    overrides.pause(session.new_queue(name), by=operator(), why=why, until_ms=until)
    print_line(f"{name} is paused {_end(until)}")


@app.command()
def resume(destination: Name) -> None:
    """End the pause of `segue pause`. A pause because of credentials ends by itself when they are right."""
    session = Session.join()
    (name,) = session.chosen(destination)
    ended = overrides.resume(session.queue(name))
    print_line(f"{name}: the pause is ended" if ended else f"{name} was not paused by an operator")


@app.command()
def rate(
    destination: Name,
    requests_per_s: Annotated[
        float | None,
        typer.Argument(min=1, max=10_000, metavar="N", help="The most requests per second, of all workers together."),
    ] = None,
    until: Annotated[
        int | None,
        typer.Option(
            "--for", parser=times.after, metavar="DURATION", help="For so long: 30m, 2h. Default: until --configured."
        ),
    ] = None,
    configured: Annotated[bool, typer.Option("--configured", help="Use the rate of the configuration again.")] = False,
) -> None:
    """Set the most requests per second of a destination, in place of `requests_per_s` of its configuration.

    Workers follow from their next request on. The rate outlives restarts.
    """
    session = Session.join()
    (name,) = session.chosen(destination)
    if (requests_per_s is None) is not configured:
        raise CommandError("give either a number of requests per second, or --configured")
    if configured and until:
        raise CommandError("--for needs a number of requests per second")
    if requests_per_s is None:
        overrides.end_rate(session.queue(name))
        own = session.destinations[name].delivery.requests_per_s
        print_line(f"{name}: at most {own:,} requests/s, as configured")
    else:
        overrides.set_rate(session.new_queue(name), requests_per_s, by=operator(), until_ms=until)
        print_line(f"{name}: at most {requests_per_s:,g} requests/s {_end(until)}")


def _end(until_ms: int | None) -> str:
    return f"until {utc(until_ms)}" if until_ms else "until you end it"
