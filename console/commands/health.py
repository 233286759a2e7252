"""The command `segue health`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from console.local import health
from console.output import print_error, print_line
from console.session import Session

app = typer.Typer()


@app.command(name="health")
def check_health(
    role: Annotated[
        health.Role | None, typer.Argument(help="The process to look for; an ingest or a worker without it.")
    ] = None,
) -> None:
    """Exit with 0 when a process of this machine works, with 1 and the reason when not."""
    session = replace(Session.join(), patience_s=health.TIMEOUT_S)
    fault = health.fault(role, session.settings, session.client)
    if fault:
        print_error(fault)
        raise typer.Exit(1)
    print_line("ok")
