"""The `segue` command: it imports the module of the command that is run, and prints an expected error.

An error of the set-up is printed as one text on stderr, without a traceback, and the exit code is 2.
"""

from __future__ import annotations

import os
import sys
from collections import UserDict
from importlib import import_module, metadata
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

# The commands in the order of the help, each with its module and the `typer.Typer` there.
_COMMANDS = {
    "up": "console.commands.processes:app",
    "demo": "console.demo.commands:app",
    "ingest": "console.commands.processes:app",
    "worker": "console.commands.processes:app",
    "metrics": "console.commands.processes:app",
    "simulator": "console.commands.processes:app",
    "status": "console.commands.status:app",
    "health": "console.commands.health:app",
    "audit": "console.audit.commands:app",
    "check": "console.commands.configuration:app",
    "reload": "console.commands.configuration:app",
    "translate": "console.commands.configuration:app",
    "forget": "console.forget_cli:app",
    "unsuppress": "console.forget_cli:app",
    "receipts": "console.forget_cli:app",
    "test": "console.cases.commands:app",
    "import": "console.importing.commands:app",
    "pause": "console.queues.overrides_cli:app",
    "resume": "console.queues.overrides_cli:app",
    "rate": "console.queues.overrides_cli:app",
    "diff": "console.diff.commands:app",
    "live": "console.live.commands:app",
    "send": "console.send.command:app",
    "lanes": "console.queues.lanes_cli:app",
    "dead": "console.dead.commands:app",
    "console": "console.web.commands:app",
    "ledger": "console.ledger.commands:app",
    "people": "console.ledger.commands:people",
    "events": "console.ledger.commands:events",
    "shadow": "console.moving.commands:shadow",
    "cutover": "console.moving.commands:cutover",
}


class _Commands(UserDict[str, Any]):
    """The commands by name. The module of one is imported when it is looked up: all of them take most of a second."""

    def __getitem__(self, name: str) -> Any:
        """Return the command. Raises KeyError."""
        module, _, attribute = self.data[name].partition(":")
        group = typer.main.get_group(getattr(import_module(module), attribute))
        command = group.commands.get(name, group)
        command.name = name
        return command


class _Group(TyperGroup):
    """The group of all commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Commands(_COMMANDS)


app = typer.Typer(
    cls=_Group,
    name="segue",
    help="Carry Segment events to Customer.io: in order per person, at volume, without loss.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"segue {metadata.version('segue')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that precede a command."""


def _use_utf8() -> None:
    """Read and write UTF-8 in every locale: events and what is printed are JSON. A closed stream is an empty one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _check_arguments() -> None:
    """Raise CommandError: an argument is no text. Python makes halves of characters of its bytes."""
    for argument in sys.argv[1:]:
        try:
            argument.encode()
        except UnicodeEncodeError:
            from console.errors import CommandError

            raise CommandError(f"the argument {argument} is not UTF-8") from None


def main() -> None:
    """Run the command line. An expected error is one text on stderr and the exit code 2.

    What the command and its children write is for this user only. Its children import nothing from the working
    directory, which may belong to another project.
    """
    os.umask(0o077)
    os.environ["PYTHONSAFEPATH"] = "1"
    _use_utf8()
    try:
        _check_arguments()
        app()
    except Exception as error:
        from console.errors import expected
        from console.output import print_error

        text = expected(error)
        if text is None:
            raise
        print_error(f"segue: {text}")
        sys.exit(2)


if __name__ == "__main__":
    main()
