"""The command `segue audit`."""

from __future__ import annotations

from functools import partial

import typer

from console import audit as auditing
from console.audit.since import Since
from console.options import AsJson, Destination
from console.output import print_json, print_lines
from console.session import Session
from console.state import history

app = typer.Typer()


@app.command()
def audit(
    since: Since = None,
    destination: Destination = None,
    as_json: AsJson = False,
) -> None:
    """Check that every accepted event was sent, has another fate, or waits. The exit code is 1 when one is missing.

    Queues whose destination is not configured any more are among them.

    `--json` prints a line for each destination: `{"destination", "configured", "balanced", "accepted", "lost",
    "missing": [{"sequence", "message_id", "text"}], "hours": [{"hour", "source", "accepted", …, "waiting",
    "difference"}]}`.
    """
    session = Session.join()
    results = [
        auditing.gather(
            queue,
            since or 0,
            configured=queue.name in session.destinations,
            last_of=partial(history.last_of, session, queue),
        )
        for queue in session.all_queues(destination)
    ]
    for result in results:
        if as_json:
            print_json(result)
        else:
            print_lines(auditing.render(result))
    if not all(result["balanced"] for result in results):
        raise typer.Exit(1)
