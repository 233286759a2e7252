"""The option `--since` of `segue audit`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from console import times


def seconds(text: str) -> float:
    """Return a time or the time so long ago, in Unix seconds. Raises typer.BadParameter."""
    since_s = times.past(text) / 1000
    if since_s > time.time():
        raise typer.BadParameter(f"{text!r} is in the future")
    return since_s


Since = Annotated[
    float | None,
    typer.Option(
        parser=seconds,
        metavar=times.METAVAR,
        help="Only events accepted since the hour of this time (UTC), or of so long ago: 24h.",
    ),
]
