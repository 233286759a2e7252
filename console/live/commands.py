"""`segue live`: what passes, a line for each step of an event, until Control-C."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Annotated, Any

import typer

from console.dead import listing
from console.errors import CommandError
from console.live import watching
from console.live.rows import FATES, Tail, Wanted
from console.options import AsJson, Destination
from console.output import print_error, print_json, print_line, utc
from console.session import Session
from mapping.envelope import EVENT_TYPES

app = typer.Typer()
_EVERY_S = 1.0


@app.command()
def live(
    destination: Destination = None,
    source: Annotated[str | None, typer.Option(help="The source of the event.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="The type of the event.")] = None,
    event: Annotated[str | None, typer.Option(help="The name or the type of the event.")] = None,
    fate: Annotated[str | None, typer.Option(help=f"One of {', '.join(FATES)}.")] = None,
    person: Annotated[str | None, typer.Option(help="Of this ordering key: id:42, email:jo@example.com, …")] = None,
    as_json: AsJson = False,
) -> None:
    """Print a part of the events that pass, with their fates, until Control-C."""
    if fate is not None and fate not in FATES:
        raise CommandError(f"--fate: must be one of {', '.join(FATES)}; it is {fate!r}")
    if event_type is not None and event_type not in EVENT_TYPES:
        raise CommandError(f"--type: must be one of {', '.join(sorted(EVENT_TYPES))}; it is {event_type!r}")
    session, digest = Session.join(), listing.filter_of(person=person).digest
    session.chosen(destination)
    with suppress(KeyboardInterrupt):
        _follow(session, Wanted(source, destination, event_type, event, fate, digest), as_json=as_json)


def _follow(session: Session, wanted: Wanted, *, as_json: bool) -> None:
    tail, shown = Tail(session.client, session.destinations), None
    while True:
        share = watching.watch(session)
        if share.every != shown:
            which = "every event" if share.every == 1 else f"one event in {share.every:,}"
            print_error(f"{which} is shown" if wanted == Wanted() else f"{which} that matches the options is shown")
            shown = share.every
        for row in tail.read():
            if wanted.matches(row):
                print_json(row.json()) if as_json else print_line(line(row.json()))
        time.sleep(_EVERY_S)


def line(row: dict[str, Any]) -> str:
    """Return the last step of a row as a line."""
    who, step = row["keys"][0] if row["keys"] else "-", row["steps"][-1]
    what = " ".join(filter(None, (row["type"], row["name"])))
    why = ", ".join(filter(None, (*row["actions"], row["reason"], row["text"])))
    fate = f"{row['fate']}: {why}" if why else row["fate"]
    return "  ".join((utc(step["at_ms"]), row["source"] or "-", what or "-", who, fate))
