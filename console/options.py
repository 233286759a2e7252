"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Destination = Annotated[str | None, typer.Option(help="Only this destination.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
