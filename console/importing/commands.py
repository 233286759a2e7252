"""The command `segue import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.importing.drift import drift
from console.importing.tables import Setup, setup
from console.importing.written import toml
from console.output import print_error, print_line, print_lines, print_text
from settings import read_document

app = typer.Typer()


@app.command(name="import")
def import_setup(
    files: Annotated[list[Path], typer.Argument(help="JSON of Segment's API: subscriptions, filters, settings.")],
    destination: Annotated[str | None, typer.Option(help="The name of the destination in the configuration.")] = None,
    check_drift: Annotated[
        Path | None, typer.Option(metavar="CONFIG", help="Compare this configuration with the JSON instead.")
    ] = None,
) -> None:
    """Print the configuration of existing Segment destinations: `segue import FILE… > segue.toml`.

    What has no counterpart is left out, with a warning on stderr. With --check-drift, print where a configuration and
    Segment's JSON differ; the exit code is 1 when they do.
    """
    found = setup([(str(file), file.read_bytes()) for file in files], destination)
    for warning in found.warnings:
        print_error(f"warning: {warning}")
    if check_drift is None:
        print_text(toml(found))
    else:
        _check_drift(check_drift, found, destination)


def _check_drift(config: Path, found: Setup, destination: str | None) -> None:
    lines = list(drift(read_document(config), found, destination))
    print_lines(lines)
    if lines:
        raise typer.Exit(1)
    subscriptions = sum(len(table.subscriptions) for table in found.tables.values())
    filters = sum(len(table.filters) for table in found.tables.values())
    print_line(f"no drift: {subscriptions} subscriptions and {filters} filters are as at Segment")
