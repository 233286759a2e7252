"""The commands of `segue dead` and their options. `console.dead` and `console.replays` do the work."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

import lanes
from console import dead, replays
from console.confirmation import confirm
from console.errors import CommandError
from console.options import AsJson, Yes
from console.output import counted, err, make_output_private, out, print_json, print_json_lines, print_line, print_text
from console.session import Session
from dead_letters import import_export, query, record
from dead_letters import replay as replaying
from dead_letters.query import Filter
from dead_letters.record import Reason as Reasons

app = typer.Typer(help="List, edit, replay and remove dead letters.", no_args_is_help=True)

Ids = Annotated[list[int] | None, typer.Argument(help="Ids of dead letters. Default: all that match the options.")]
Id = Annotated[int, typer.Argument(metavar="ID", help="The id of a dead letter, as `segue dead list` prints it.")]
Destination = Annotated[str | None, typer.Option(help="The destination. Required when there is more than one.")]
Reason = Annotated[str | None, typer.Option(help=f"One of {', '.join(Reasons)}.")]
Action = Annotated[str | None, typer.Option(help="The action that failed, such as trackEvent.")]
Event = Annotated[str | None, typer.Option(help="The name or the type of the event.")]
Source = Annotated[str | None, typer.Option(help="The source of the event.")]
Person = Annotated[str | None, typer.Option(help="An ordering key: id:42, email:jo@example.com, anonymous_id:…")]
Since = Annotated[datetime | None, typer.Option(help="Buried at or after this time (UTC).")]
Until = Annotated[datetime | None, typer.Option(help="Buried before this time (UTC).")]
Text = Annotated[str | None, typer.Option(help="Text anywhere in the event or in the failure.")]


def filter_of(
    ids: Ids = None,
    reason: Reason = None,
    action: Action = None,
    event: Event = None,
    source: Source = None,
    person: Person = None,
    since: Since = None,
    until: Until = None,
    text: Text = None,
) -> Filter:
    """Return the filter of a command's options. Raises CommandError: a value is invalid."""
    return dead.filter_of(
        ids=tuple(ids or ()),
        reason=reason,
        action=action,
        event=event,
        source=source,
        person=person,
        since_ms=_ms(since),
        until_ms=_ms(until),
        text=text,
    )


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `wanted` of a command by the options of `filter_of`."""
    options, own = _parameters(filter_of), _parameters(command)
    del own["wanted"]

    @wraps(command)
    def with_filter(**values: Any) -> None:
        command(wanted=filter_of(**{name: values.pop(name) for name in options}), **values)

    parameters = options | own
    with_filter.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    with_filter.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    return with_filter


def _parameters(command: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(command, eval_str=True).parameters)


@app.command(name="list")
@filtered
def list_dead_letters(
    wanted: Filter,
    destination: Destination = None,
    group: Annotated[bool, typer.Option("--group", help="Print one entry for each kind of error.")] = False,
    as_json: AsJson = False,
) -> None:
    """List dead letters in the order in which their events were accepted."""
    queue = _queue(destination)
    _require(queue, wanted.ids)
    found = query.matching(queue, wanted)
    if group:
        rows = dead.groups(found)
        print_json(rows) if as_json else out.print(dead.render_groups(rows))
    elif as_json:
        print_json_lines(dead_letter.json() for dead_letter in found)
    else:
        out.print(dead.render_list(found))


@app.command()
def show(sequence: Id, destination: Destination = None) -> None:
    """Print a dead letter as JSON, with a dry run of sending it now and the waiting events of the same person."""
    session = Session.join()
    configured = session.only(destination)
    queue = session.queue(configured.name)
    print_json(dead.details(queue, configured, dead.find(queue, sequence)), indent=True)


@app.command()
def edit(
    sequence: Id,
    destination: Destination = None,
    patch: Annotated[
        str | None,
        typer.Option(help="A JSON Merge Patch (an object) or a JSON Patch (a list). Default: open $EDITOR."),
    ] = None,
) -> None:
    """Edit the event of a dead letter. The original event is kept with it."""
    session = Session.join()
    configured = session.only(destination)
    queue = session.queue(configured.name)
    dead.edit(queue, configured, dead.find(queue, sequence), patch)
    print_line(f"dead letter {sequence} was edited; `segue dead replay {sequence}` sends it")


@app.command()
@filtered
def replay(
    wanted: Filter,
    destination: Destination = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would be sent. Send nothing.")] = False,
    as_recorded: Annotated[
        bool, typer.Option("--as-recorded", help="Send the recorded requests again. Default: map the events again.")
    ] = False,
    as_it_was: Annotated[bool, typer.Option("--as-it-was", hidden=True)] = False,  # the old name of --as-recorded
    rate: Annotated[int, typer.Option(min=1, help="The most dead letters per second.")] = 500,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put dead letters back on the queue, in order per person, behind the waiting events of the same person.

    Workers carry out the replay, also a dry run. Ctrl-C leaves it running, and the same command joins it again.

    `segue dead replays` shows its progress, `segue dead cancel` stops it. A dead letter is replayed once, also when two
    operators replay it.
    """
    queue = _queue(destination)
    as_recorded = as_recorded or as_it_was
    if dry_run and as_recorded:
        raise CommandError("--dry-run maps events again; `segue dead show` prints the requests of --as-recorded")
    _require(queue, wanted.ids)
    mode: replaying.Mode = "dry_run" if dry_run else "as_recorded" if as_recorded else "mapped"
    started = replays.start(queue, wanted, rate, mode)
    if not detach and started.state == "running":
        try:
            started = replays.watch(queue, started, err)
        except KeyboardInterrupt:
            print_line(f"replay {started.id} is still running; `segue dead cancel {started.id}` stops it")
            raise typer.Exit(130) from None
    if as_json:
        print_json(replays.replay_json(started))
    elif dry_run and started.state == "done":
        out.print(replays.render_dry_run(started))
    else:
        print_line(replays.outcome(started))


@app.command(name="replays")
def list_replays(destination: Destination = None, as_json: AsJson = False) -> None:
    """List replays, the newest first: operator, filter and progress."""
    queue = _queue(destination)
    found = replaying.history(queue)
    print_json_lines(map(replays.replay_json, found)) if as_json else out.print(replays.render_replays(found))


@app.command()
def cancel(
    replay_id: Annotated[str, typer.Argument(help="The id of a replay.")], destination: Destination = None
) -> None:
    """Stop a replay. What it has not requeued stays a dead letter."""
    queue = _queue(destination)
    if replaying.read(queue, replay_id) is None:
        raise CommandError(f"{queue.name} has no replay {replay_id}; `segue dead replays` shows the existing ones")
    replaying.cancel(queue, replay_id)
    print_line(f"replay {replay_id} is cancelled")


@app.command()
@filtered
def skip(
    wanted: Filter,
    destination: Destination = None,
    yes: Yes = False,
) -> None:
    """Remove dead letters and unblock the events behind them. Asks for confirmation, unless ids are given."""
    queue = _queue(destination)
    if wanted == Filter():
        raise CommandError("name the dead letters: their ids, or options as for `segue dead list`")
    _discard(queue, wanted, "skipped", yes or bool(wanted.ids))


@app.command()
@filtered
def purge(
    wanted: Filter,
    destination: Destination = None,
    yes: Yes = False,
) -> None:
    """Remove dead letters for good. Asks for confirmation."""
    queue = _queue(destination)
    _discard(queue, wanted, "removed", yes)


@app.command()
@filtered
def export(
    wanted: Filter,
    destination: Destination = None,
) -> None:
    """Print dead letters as JSON lines for `segue dead import`."""
    queue = _queue(destination)
    _require(queue, wanted.ids)
    make_output_private()
    for _, line in record.lines(queue.name, query.matching(queue, wanted)):
        print_text(line.decode())


@app.command(name="import")
def import_dead_letters(
    file: Annotated[str, typer.Argument(help="Exported JSON lines or a spill file; - is stdin.")] = "-",
    destination: Destination = None,
) -> None:
    """Import dead letters from JSON lines: all lines, or none when one is invalid. Existing dead letters stay."""
    session = Session.join()
    configured = session.only(destination)
    queue = session.new_queue(configured.name)
    with import_export.spooled(sys.stdin.buffer) if file == "-" else nullcontext(Path(file)) as path:
        lines, now_ms = import_export.lines_of(path), int(time.time() * 1000)
        added, existing = import_export.import_lines(queue, configured, lines, now_ms)
    print_line(f"{counted(added, 'dead letter')} imported" + (f"; {existing:,} existed already" if existing else ""))


@app.command()
def stats(destination: Destination = None, as_json: AsJson = False) -> None:
    """Show the number of dead letters by reason, the limit and the spill files."""
    session = Session.join()
    configured = session.only(destination)
    queue = session.queue(configured.name)
    figures = dead.stats(queue, configured, session.settings.spill_dir)
    print_json(figures) if as_json else out.print(dead.render_stats(figures))


def _queue(destination: str | None) -> lanes.Queue:
    session = Session.join()
    return session.queue(session.only(destination).name)


def _discard(queue: lanes.Queue, wanted: Filter, done: str, yes: bool) -> None:
    _require(queue, wanted.ids)
    count = sum(1 for _ in query.matching(queue, wanted))
    if count and confirm(counted(count, "dead letter"), done, yes):
        print_line(f"{counted(dead.discard(queue, wanted), 'dead letter')} {done}")
    else:
        print_line(f"nothing was {done}")


def _require(queue: lanes.Queue, ids: Iterable[int]) -> None:
    """Raise CommandError when one of the dead letters does not exist."""
    for sequence in ids:
        dead.find(queue, sequence)


def _ms(time: datetime | None) -> int | None:
    return None if time is None else int(time.replace(tzinfo=UTC).timestamp() * 1000)
