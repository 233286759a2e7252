"""`segue status --watch`: the figures of each destination over the last hour, drawn again every few seconds."""

from __future__ import annotations

import time
from contextlib import suppress

from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from console import status
from console.errors import CommandError
from console.output import out
from console.session import Session
from console.state import available, trends

_EVERY_S = 2.0


def run(session: Session) -> None:
    """Draw until Control-C. Raises CommandError: the output is no terminal."""
    if not out.is_terminal:
        raise CommandError("--watch needs a terminal; without one, use `segue status --json` or `segue metrics`")
    with suppress(KeyboardInterrupt), Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            live.update(screen(session), refresh=True)
            time.sleep(_EVERY_S)


def screen(session: Session) -> RenderableType:
    """Return what is drawn: for each destination its state and the charts of the last hour."""
    parts: list[RenderableType] = [Text("the last hour; Control-C ends", style="dim"), ""]
    found = status.gather(session)
    parts += [Text(line, style="bold red") for line in available.lines(found["unavailable"])]
    for row in found["destinations"]:
        parts += [*status.headings(row), *_charts(session, row["name"]), ""]
    return Group(*parts)


def _charts(session: Session, name: str) -> list[RenderableType]:
    return [Padding(line, (0, 0, 0, 2)) for line in trends.charts(session.queue(name))]
