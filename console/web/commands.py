"""The commands `segue console` and `segue console token`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.output import print_error, print_line
from console.starting import startable
from console.web import tokens
from console.web.access import Role

app = typer.Typer(invoke_without_command=True)


@app.callback()
def console(context: typer.Context) -> None:
    """Serve the web console. Any number of processes may run; they keep no state."""
    if context.invoked_subcommand is None:
        from console.web import process

        process.run(startable())


@app.command()
def token(role: Annotated[Role, typer.Argument(help="What its holder may do.")]) -> None:
    """Print a new token, and its entry for SEGUE_CONSOLE_TOKENS. Segue does not keep the token."""
    secret, entry = tokens.make(role)
    print_line(entry)
    print_error(f"the token of the {role}, shown once: {secret}")
