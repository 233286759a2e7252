"""The option `--since` of `segue audit`."""

from __future__ import annotations

import re
import time
from typing import Annotated, Final

import typer

_UNITS_S: Final = {"m": 60, "h": 3600, "d": 86_400}


def seconds_ago(text: str) -> float:
    """Return the Unix seconds of `30m`, `24h` or `7d` ago. Raises typer.BadParameter."""
    match = re.fullmatch(r"(\d{1,9})([mhd])", text)
    if match is None:
        raise typer.BadParameter(f'"{text}" is not a duration such as 30m, 24h or 7d')
    return time.time() - int(match[1]) * _UNITS_S[match[2]]


Since = Annotated[
    float | None,
    typer.Option(
        parser=seconds_ago, metavar="DURATION", help="Only events accepted since the hour of 30m, 24h, 7d ago."
    ),
]
