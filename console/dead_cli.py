"""The commands of `segue dead` and their options; what they do is in `console.dead`."""

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

import orjson
import redis
import typer
from rich.console import Console

import mapping
from console import dead
from console.errors import CommandError
from console.local import running
from console.output import out, print_json, print_json_lines
from dead_letters import import_export, query, spill_files
from dead_letters import replay as replays
from dead_letters.query import Filter
from settings import Settings

app = typer.Typer(help="Read, mend and replay what could not be delivered.", no_args_is_help=True)

Ids = Annotated[list[int] | None, typer.Argument(help="Ids of dead letters; none: all that the options say.")]
Id = Annotated[int, typer.Argument(help="The id of a dead letter, as `segue dead list` shows it.")]
Destination = Annotated[str | None, typer.Option(help="The destination; not needed where there is one.")]
Reason = Annotated[str | None, typer.Option(help="invalid, rejected, exhausted, deadly or deleted.")]
Action = Annotated[str | None, typer.Option(help="The action at fault, such as trackEvent.")]
Event = Annotated[str | None, typer.Option(help="The event's name, or its type.")]
Source = Annotated[str | None, typer.Option(help="The source that it came from.")]
Person = Annotated[str | None, typer.Option(help="An ordering key: id:42, email:jo@example.com, anonymous_id:…")]
Since = Annotated[datetime | None, typer.Option(help="Set aside at or after this time (UTC).")]
Until = Annotated[datetime | None, typer.Option(help="Set aside before this time (UTC).")]
Text = Annotated[str | None, typer.Option(help="Text anywhere in the event or the reason.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def wanted(
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
    """Return the filter that the options of a command say."""
    return dead.wanted(
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
    """Give a command the options of `wanted` in the place of its parameter `which`."""
    conditions, own = _parameters(wanted), _parameters(command)
    del own["which"]

    @wraps(command)
    def with_filter(**given: Any) -> None:
        command(which=wanted(**{name: given.pop(name) for name in conditions}), **given)

    with_filter.__annotations__ = {name: one.annotation for name, one in (conditions | own).items()}
    with_filter.__signature__ = inspect.Signature(list((conditions | own).values()))  # type: ignore[attr-defined]
    return with_filter


def _parameters(command: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(command, eval_str=True).parameters)


@app.command(name="list")
@filtered
def list_letters(
    which: Filter,
    destination: Destination = None,
    group: Annotated[bool, typer.Option("--group", help="One line for each kind of error.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the dead letters, in the order in which their events were accepted."""
    client, name = _queue(destination)
    _must_exist(client, name, which.ids)
    found = query.matching(client, name, which)
    if group:
        rows = dead.groups(found)
        print_json(rows) if as_json else out.print(dead.grouped(rows))
    elif as_json:
        print_json_lines(one.json() for one in found)
    else:
        out.print(dead.listed(found))


@app.command()
def show(letter: Id, destination: Destination = None) -> None:
    """Show everything about one dead letter, what sending it would come to, and who waits, as JSON."""
    client, name = _queue(destination)
    told = dead.shown(client, _configured(name), dead.grave(client, name, letter))
    print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())  # noqa: T201


@app.command()
def edit(
    letter: Id,
    destination: Destination = None,
    patch: Annotated[
        str | None, typer.Option(help="A JSON patch: an object to merge, or a list of steps; without it $EDITOR opens.")
    ] = None,
) -> None:
    """Mend the event of a dead letter; the first one is kept with it."""
    client, name = _queue(destination)
    dead.edit(client, _configured(name), dead.grave(client, name, letter), patch)
    out.print(f"dead letter {letter} was edited; `segue dead replay {letter}` sends it")


@app.command()
@filtered
def replay(
    which: Filter,
    destination: Destination = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")] = False,
    as_it_was: Annotated[
        bool, typer.Option("--as-it-was", help="Send the refused requests again, not the events mapped anew.")
    ] = False,
    rate: Annotated[int, typer.Option(min=1, help="Most dead letters per second.")] = 500,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters again, mapped anew, each person's in their order and after what is live for them.

    The workers do it, a dry run too. Ctrl-C leaves it running, the same command joins it again; `segue dead replays`
    shows it, `segue dead cancel` stops it. What is replayed twice, or by two people, is sent once.
    """
    client, name = _queue(destination)
    if dry_run and as_it_was:
        raise CommandError("--dry-run maps events anew; what --as-it-was sends is in `segue dead show`")
    _must_exist(client, name, which.ids)
    mode: replays.Mode = "dry run" if dry_run else "as it was" if as_it_was else "mapped"
    begun = dead.replay(client, name, which, rate, mode)
    if not detach and begun.state == "running":
        try:
            begun = dead.watch(client, name, begun, Console(stderr=True))
        except KeyboardInterrupt:
            out.print(f"replay {begun.id} goes on; `segue dead cancel {begun.id}` stops it")
            raise typer.Exit(130) from None
    if as_json:
        print_json(dead.replay_json(begun))
    elif dry_run and begun.state == "done":
        out.print(dead.planned(begun))
    else:
        out.print(dead.outcome(begun))


@app.command(name="replays")
def list_replays(destination: Destination = None, as_json: AsJson = False) -> None:
    """Show who replayed what, and how far it is, the newest first."""
    client, name = _queue(destination)
    found = replays.history(client, name)
    print_json_lines(map(dead.replay_json, found)) if as_json else out.print(dead.audited(found))


@app.command()
def cancel(
    replay_id: Annotated[str, typer.Argument(help="The id of a replay.")], destination: Destination = None
) -> None:
    """Stop a replay; what it has not put back stays a dead letter."""
    client, name = _queue(destination)
    if replays.read(client, name, replay_id) is None:
        raise CommandError(f"{name} has no replay {replay_id}; `segue dead replays` shows those there are")
    replays.cancel(client, name, replay_id)
    out.print(f"replay {replay_id} is cancelled")


@app.command()
@filtered
def skip(
    which: Filter,
    destination: Destination = None,
    yes: Yes = False,
) -> None:
    """Give up on dead letters; events that wait behind them go on. Asks first, unless their ids are given."""
    client, name = _queue(destination)
    if which == Filter():
        raise CommandError("say which dead letters: their ids, or options as for `segue dead list`")
    _discard(client, name, which, "skipped", yes or bool(which.ids))


@app.command()
@filtered
def purge(
    which: Filter,
    destination: Destination = None,
    yes: Yes = False,
) -> None:
    """Remove dead letters for good; asks first."""
    client, name = _queue(destination)
    _discard(client, name, which, "removed", yes)


@app.command()
@filtered
def export(
    which: Filter,
    destination: Destination = None,
) -> None:
    """Print dead letters as JSON lines that `segue dead import` takes."""
    client, name = _queue(destination)
    _must_exist(client, name, which.ids)
    for one in query.matching(client, name, which):
        print(spill_files.line(name, one).decode())  # noqa: T201


@app.command(name="import")
def import_letters(
    file: Annotated[str, typer.Argument(help="Exported JSON lines, or a spill file; - is stdin.")] = "-",
    destination: Destination = None,
) -> None:
    """Add dead letters from lines: all of them, or none when one cannot be read. Those that are there stay."""
    client, name = _queue(destination)
    with import_export.spooled(sys.stdin.buffer) if file == "-" else nullcontext(Path(file)) as path:
        lines, now_ms = import_export.lines_of(path), int(time.time() * 1000)
        added, there = import_export.imported(client, _configured(name), lines, now_ms)
    out.print(f"{added:,} dead letters imported" + (f"; {there:,} were there already" if there else ""))


@app.command()
def stats(destination: Destination = None, as_json: AsJson = False) -> None:
    """Show how many dead letters there are, and why."""
    client, name = _queue(destination)
    figures = dead.stats(client, _configured(name), Settings.load().spill_dir)
    print_json(figures) if as_json else out.print(dead.counted(figures))


def _queue(destination: str | None) -> tuple[redis.Redis, str]:
    settings = Settings.load()
    names = list(settings.document().get("destinations", {}))
    if destination is None and len(names) != 1:
        raise CommandError(f"say --destination: there are {', '.join(names) or 'none'}")
    if destination is not None and destination not in names:
        raise CommandError(f'there is no destination "{destination}"; there are {", ".join(names)}')
    url = running.environment(settings).get("REDIS_URL", settings.redis_url)
    return redis.Redis.from_url(url, socket_timeout=30, socket_connect_timeout=5), destination or names[0]


def _configured(name: str) -> mapping.Destination:
    return mapping.destinations(Settings.load().document())[name]


def _discard(client: redis.Redis, name: str, which: Filter, what: str, yes: bool) -> None:
    _must_exist(client, name, which.ids)
    count = sum(1 for _ in query.matching(client, name, which))
    if count and dead.confirmed(count, what, yes):
        out.print(f"{dead.discard(client, name, which, _hold_ms()):,} dead letters {what}")
    else:
        out.print(f"nothing was {what}")


def _must_exist(client: redis.Redis, name: str, ids: Iterable[int]) -> None:
    for letter in ids:
        dead.grave(client, name, letter)


def _hold_ms() -> int:
    return int(Settings.load().settle_s * 1000)


def _ms(time: datetime | None) -> int | None:
    return None if time is None else int(time.replace(tzinfo=UTC).timestamp() * 1000)
