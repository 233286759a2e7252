"""The commands `segue cutover`."""

from __future__ import annotations

import time

import typer

from console.moving import plan
from console.options import AsJson, Destination
from console.output import print_json, print_lines
from console.session import Session
from console.state import configurations

cutover = typer.Typer(help="Take over from another destination at a moment.", no_args_is_help=True)


@cutover.callback()
def _cutover() -> None:
    """Keep the name of the only command."""


@cutover.command(name="plan")
def show_plan(destination: Destination = None, as_json: AsJson = False) -> None:
    """Print the steps, and the filter with which the old destination drops exactly what Segue sends."""
    session = Session.join()
    found = plan.gather(session.only(destination), configurations.gather(session), int(time.time() * 1000))
    print_json(found) if as_json else print_lines(plan.lines(found))
