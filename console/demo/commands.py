"""The command `segue demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.demo import run as demo
from console.demo import sample, staying
from console.output import out, print_error, print_line

app = typer.Typer()


@app.command(name="demo")
def run_demo(
    events: Annotated[int, typer.Option(min=100, help="The least number of events to send.")] = 5000,
    seed: Annotated[int, typer.Option(help="The seed of the sample.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes; one is killed at half of the events.")] = 2,
    stay: Annotated[
        bool, typer.Option("--stay", help="Keep everything running with the web console, until Control-C.")
    ] = False,
) -> None:
    """Deliver a sample to a simulated Customer.io, kill a worker on the way, and check every person.

    The exit code is 1 when an event is lost, out of order or a dead letter, or when a person is not as expected.
    """
    sent = sample.events(events, seed)
    with demo.started(out, workers) as pipeline:
        report = demo.deliver(pipeline, out, sent, seed)
        out.print(demo.render(report))
        for difference in report.differences[:20]:
            print_error(difference)
        if report.is_right:
            print_line("every person is as expected; no event was lost or out of order")
        if stay:
            staying.stay(pipeline, out, seed)
    if not report.is_right:
        raise typer.Exit(1)
