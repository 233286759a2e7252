"""The commands of `segue dead` and their options. The other modules of this package do the work."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

import lanes
from console import times
from console.confirmation import confirm
from console.dead import editing, listing, replays
from console.dead.patching import read_patch
from console.errors import CommandError
from console.options import AsJson, Destination, Yes
from console.output import (
    counted,
    err,
    make_output_private,
    out,
    print_json,
    print_json_lines,
    print_line,
    print_lines,
    print_text,
)
from console.session import Session
from dead_letters import import_export
from dead_letters import replay as replaying
from dead_letters.query import Filter
from dead_letters.record import Reason as Reasons
from lanes.clock import machine_ms

app = typer.Typer(help="List, edit, replay and remove dead letters.", no_args_is_help=True)

Ids = Annotated[list[int] | None, typer.Argument(help="Ids of dead letters. Default: all that match the options.")]
Id = Annotated[int, typer.Argument(metavar="ID", help="The id of a dead letter, as `segue dead list` prints it.")]
Reason = Annotated[str | None, typer.Option(help=f"One of {', '.join(Reasons)}.")]
Action = Annotated[str | None, typer.Option(help="The action that failed, such as trackEvent.")]
Event = Annotated[str | None, typer.Option(help="The name or the type of the event.")]
Source = Annotated[str | None, typer.Option(help="The source of the event.")]
Person = Annotated[str | None, typer.Option(help="An ordering key: id:42, email:jo@example.com, anonymous_id:…")]
Since = Annotated[
    int | None,
    typer.Option(
        parser=times.past, metavar=times.METAVAR, help="Buried at or after this time (UTC), or so long ago: 1h."
    ),
]
Until = Annotated[
    int | None, typer.Option(parser=times.past, metavar=times.METAVAR, help="Buried before this time, or longer ago.")
]
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
    return listing.filter_of(
        ids=tuple(ids or ()),
        reason=reason,
        action=action,
        event=event,
        source=source,
        person=person,
        since_ms=since,
        until_ms=until,
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
    """List dead letters in the order in which their events were accepted, of every destination."""
    session = Session.join()
    queues = listing.queues(session, destination)
    _require(queues, wanted.ids)
    found = listing.matching(queues, wanted)
    if group:
        rows = listing.groups(dead_letter for _, dead_letter in found)
        print_json(rows) if as_json else out.print(listing.render_groups(rows))
    elif as_json:
        print_json_lines(listing.listed_json(session, name, dead_letter) for name, dead_letter in found)
    else:
        out.print(listing.render_list(session, found))


@app.command()
def show(sequence: Id, destination: Destination = None) -> None:
    """Print a dead letter as JSON, with a dry run of sending it now and the waiting events of the same person."""
    session = Session.join()
    queue, dead_letter = listing.find(listing.queues(session, destination), sequence)
    print_json(listing.details(queue, session.destinations[queue.name], dead_letter), indent=True)


@app.command()
@filtered
def edit(
    wanted: Filter,
    destination: Destination = None,
    patch: Annotated[
        str | None,
        typer.Option(help="A JSON Merge Patch (an object) or a JSON Patch (a list). Default: open $EDITOR for one id."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report what the patch would change. Change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Edit the events of dead letters: of one in an editor, or of all that match by a patch.

    The original events are kept with them. Each dead letter is edited on its own. The exit code is 1 when some cannot
    be edited.
    """
    session = Session.join()
    listing.require_selection(wanted)
    queues = listing.queues(session, destination)
    _require_one(queues, wanted.ids)
    if patch is None:
        _edit_one(session, queues, wanted)
        return
    read_patch(patch)
    edits = editing.Edits(dry_run)
    for queue in queues:
        editing.edit_all(edits, queue, session.destinations[queue.name], wanted, patch)
    if len(wanted.ids) == 1 and edits.refused and not as_json:
        raise CommandError(f"dead letter {wanted.ids[0]}: {edits.refused[0][1]}")
    print_json(edits.json()) if as_json else print_lines(edits.lines())
    if edits.refused:
        raise typer.Exit(1)


def _edit_one(session: Session, queues: Collection[lanes.Queue], wanted: Filter) -> None:
    if len(wanted.ids) != 1 or wanted != Filter(ids=wanted.ids):
        raise CommandError("--patch is required to edit the dead letters of a filter; the editor takes one id")
    queue, dead_letter = listing.find(queues, wanted.ids[0])
    try:
        is_changed = editing.edit_one(queue, session.destinations[queue.name], dead_letter)
    except CommandError as error:
        raise CommandError(f"dead letter {dead_letter.sequence}: {error}; nothing was changed") from None
    option = f" --destination {queue.name}" if len(session.destinations) > 1 else ""
    hint = f"was edited; `segue dead replay {dead_letter.sequence}{option}` sends it"
    print_line(f"dead letter {dead_letter.sequence} {hint if is_changed else 'was not changed'}")


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
    everything: Annotated[bool, typer.Option("--all", help="Replay every dead letter.")] = False,
    rate: Annotated[int, typer.Option(min=1, help="The most dead letters per second.")] = 500,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put dead letters back on the queue, in order per person, behind the waiting events of the same person.

    Workers carry out the replay, also a dry run. Ctrl-C leaves it running, and the same command joins it again.

    `segue dead replays` shows its progress, `segue dead cancel` stops it. A dead letter is replayed once, also when two
    operators replay it.
    """
    as_recorded = as_recorded or as_it_was
    if dry_run and as_recorded:
        raise CommandError("--dry-run maps events again; `segue dead show` prints the requests of --as-recorded")
    if everything and wanted != Filter():
        raise CommandError("--all excludes ids and the other options that choose dead letters")
    if wanted == Filter() and not (everything or dry_run):
        raise CommandError("name the dead letters: their ids, options as for `segue dead list`, or --all")
    queues = listing.queues(Session.join(), destination)
    _require_one(queues, wanted.ids)
    mode: replaying.Mode = "dry_run" if dry_run else "as_recorded" if as_recorded else "mapped"
    begun = [(queue, replays.start(queue, wanted, rate, mode)) for queue in replays.concerned(queues, wanted)]
    for queue, started in begun:
        ended = started if detach or started.state != "running" else _watched(queue, started)
        if as_json:
            print_json(replays.replay_json(ended, queue.name))
        elif dry_run and ended.state == "done":
            out.print(replays.render_dry_run(ended))
        else:
            print_line(replays.outcome(ended))


def _watched(queue: lanes.Queue, started: replaying.Replay) -> replaying.Replay:
    try:
        return replays.watch(queue, started, err)
    except KeyboardInterrupt:
        print_line(f"replay {started.id} is still running; `segue dead cancel {started.id}` stops it")
        raise typer.Exit(130) from None


@app.command(name="replays")
def list_replays(destination: Destination = None, as_json: AsJson = False) -> None:
    """List replays, the newest first: operator, filter and progress."""
    found = replays.history(listing.queues(Session.join(), destination))
    if as_json:
        print_json_lines(replays.replay_json(replay, name) for name, replay in found)
    else:
        out.print(replays.render_replays(found))


@app.command()
def cancel(
    replay_id: Annotated[str, typer.Argument(help="The id of a replay.")], destination: Destination = None
) -> None:
    """Stop a replay. What it has not requeued stays a dead letter."""
    queues = listing.queues(Session.join(), destination)
    found = [queue for queue in queues if replaying.read(queue, replay_id) is not None]
    if not found:
        names = ", ".join(queue.name for queue in queues)
        raise CommandError(f"{names} has no replay {replay_id}; `segue dead replays` shows the existing ones")
    replaying.cancel(found[0], replay_id)
    print_line(f"replay {replay_id} is cancelled")


@app.command()
@filtered
def skip(
    wanted: Filter,
    destination: Destination = None,
    yes: Yes = False,
) -> None:
    """Remove dead letters and unblock the events behind them. Asks for confirmation, unless ids are given."""
    listing.require_selection(wanted)
    _discard(destination, wanted, "skipped", yes or bool(wanted.ids))


@app.command()
@filtered
def purge(
    wanted: Filter,
    destination: Destination = None,
    yes: Yes = False,
) -> None:
    """Remove dead letters for good. Asks for confirmation."""
    _discard(destination, wanted, "removed", yes)


@app.command()
@filtered
def export(
    wanted: Filter,
    destination: Destination = None,
) -> None:
    """Print dead letters as JSON lines for `segue dead import`."""
    queues = listing.queues(Session.join(), destination)
    _require(queues, wanted.ids)
    make_output_private()
    for line in listing.exported(queues, wanted):
        print_text(line.decode())


@app.command(name="import")
def import_dead_letters(
    file: Annotated[str, typer.Argument(help="Exported JSON lines or a spill file; - is stdin.")] = "-",
    destination: Destination = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report every refused line. Import nothing.")] = False,
) -> None:
    """Import dead letters from JSON lines: all lines, or none when one is invalid. Existing dead letters stay.

    With several destinations each line goes to the one that it names, unless --destination names one for all lines.
    With --dry-run, the exit code is 1 when a line is refused.
    """
    targets, now_ms = listing.import_targets(Session.join(), destination), machine_ms()
    with import_export.spooled(sys.stdin.buffer) if file == "-" else nullcontext(Path(file)) as path:
        lines = import_export.lines_of(path)
        if dry_run:
            plan = import_export.plan(targets, lines, now_ms)
            print_lines(listing.render_import(plan))
            raise typer.Exit(1 if plan.refused_total else 0)
        added, existing = import_export.import_to(targets, lines, now_ms)
    print_line(f"{counted(added, 'dead letter')} imported" + (f"; {existing:,} existed already" if existing else ""))


@app.command()
def stats(destination: Destination = None, as_json: AsJson = False) -> None:
    """Show the number of dead letters by reason, the limit and the spill files, of each destination."""
    session = Session.join()
    for queue in listing.queues(session, destination):
        figures = listing.stats(queue, session.destinations[queue.name], session.settings.spill_dir)
        if as_json:
            print_json(figures)
        else:
            out.print(listing.render_stats(figures))


def _discard(destination: str | None, wanted: Filter, done: str, yes: bool) -> None:
    queues = listing.queues(Session.join(), destination)
    _require_one(queues, wanted.ids)
    count = sum(1 for _ in listing.matching(queues, wanted))
    if count and confirm(counted(count, "dead letter"), done, yes):
        removed = sum(listing.discard(queue, wanted) for queue in queues)
        print_line(f"{counted(removed, 'dead letter')} {done}")
    else:
        print_line(f"nothing was {done}")


def _require(queues: Collection[lanes.Queue], ids: Iterable[int]) -> None:
    """Raise CommandError when no destination has one of the dead letters."""
    for sequence in ids:
        if not any(lanes.get_dead_letters(queue, [sequence]) for queue in queues):
            listing.find(queues, sequence)


def _require_one(queues: Collection[lanes.Queue], ids: Iterable[int]) -> None:
    """Raise CommandError when no destination has one of the dead letters, or more than one has."""
    for sequence in ids:
        listing.find(queues, sequence)
