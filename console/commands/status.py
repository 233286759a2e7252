"""The command `segue status`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from console import status, watching
from console.options import AsJson
from console.output import out, print_json
from console.session import Session

app = typer.Typer()

_PATIENCE_S = 5.0  # each part of the status that a node does not answer takes so long


@app.command(name="status")
def show_status(
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Draw the last hour, until Control-C.")] = False,
) -> None:
    """Show the state and the figures of each destination and source, and the number of workers.

    The exit code is 1 when a node of a Redis Cluster is unavailable: its figures are missing.
    """
    session = replace(Session.join(), patience_s=_PATIENCE_S)
    if watch:
        watching.run(session)
        return
    found = status.gather(session)
    if as_json:
        print_json(found)
    else:
        out.print(status.render(found))
    if found["unavailable"]:
        raise typer.Exit(1)
