"""`segue test` with one event: its requests are shown, compared, or sent."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from console import tester
from console.confirmation import confirm
from console.errors import CommandError
from console.output import counted, out, print_error, print_json, print_line
from console.session import Session
from delivery.outcomes import Delivered
from lanes.clock import machine_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of the command."""

    destination: str | None
    source: str | None
    send: bool
    yes: bool
    expect: Path | None
    verbose: bool
    as_json: bool


def run(file: str, options: Options) -> None:
    """Show what becomes of the event of a file; `-` is stdin. Raises typer.Exit: the event is not sent as expected."""
    event = tester.read_event(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
    expected = None if options.expect is None else tester.expectations(options.expect.read_bytes())
    session = Session.join()
    trials = [
        tester.tried(event, session, session.destinations[name], tester.source_for(session, name, options.source))
        for name in session.chosen(options.destination)
    ]
    shadows = [
        trial for trial in trials if tester.is_shadow(trial, session.destinations[trial.destination], machine_ms())
    ]
    if options.send and shadows:
        names = ", ".join(trial.destination for trial in shadows)
        raise CommandError(f"nothing was sent: this is a shadow event of {names}, which no worker sends")
    if options.send:
        _confirm_sending(session, trials, options.yes)
    are_good = [_show(trial, session, options) for trial in trials]
    for trial in shadows if not options.as_json else ():
        print_line(f"{trial.destination}: this is a shadow event, which no worker sends")
    found = [] if expected is None else tester.unexpected(expected, trials)
    for difference in found:
        print_error(difference)
    if found or not all(are_good):
        raise typer.Exit(1)


def _show(trial: tester.Trial, session: Session, options: Options) -> bool:
    """Print a trial, send its requests on demand; return whether nothing failed."""
    sent = tester.send(trial, session.destinations[trial.destination]) if options.send else []
    if options.as_json:
        outcomes = {"outcomes": [tester.outcome_json(outcome) for _, outcome in sent]} if options.send else {}
        print_json(trial.json() | outcomes)
    else:
        for part in trial.render(verbose=options.verbose):
            out.print(part, soft_wrap=True)
        for request, outcome in sent:
            out.print(tester.outcome_line(request, outcome), soft_wrap=True)
        if trial.requests and not options.send:
            print_line("nothing was sent; --send sends the requests")
    return not trial.failures and all(isinstance(outcome, Delivered) for _, outcome in sent)


def _confirm_sending(session: Session, trials: list[tester.Trial], yes: bool) -> None:
    """Ask before a request goes to a real workspace. Raises CommandError, also for a no."""
    count = sum(len(trial.requests) for trial in trials)
    if session.settings.track_url or not count:
        return
    hosts = ", ".join(dict.fromkeys(trial.url for trial in trials))
    if not confirm(counted(count, "request"), f"sent to {hosts}, which is no simulator,", yes):
        raise CommandError("nothing was sent")
