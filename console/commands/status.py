"""The command `segue status`."""

from __future__ import annotations

from typing import Annotated

import typer

from console import status, watching
from console.options import AsJson
from console.output import out, print_json
from console.session import Session

app = typer.Typer()


@app.command(name="status")
def show_status(
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Draw the last hour, until Control-C.")] = False,
) -> None:
    """Show the state and the figures of each destination and source, and the number of workers."""
    session = Session.join()
    if watch:
        watching.run(session)
    elif as_json:
        print_json(status.gather(session))
    else:
        out.print(status.render(status.gather(session)))
