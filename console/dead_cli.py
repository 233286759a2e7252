"""The commands of `segue dead` and their options; what they do is in `console.dead`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import orjson
import redis
import typer
from rich.console import Console

import mapping
from console import dead, running
from console.errors import CommandError
from settings import Settings
from workers import graveyard, replays
from workers.graveyard import Filter

app = typer.Typer(help="Read, mend and replay what could not be delivered.", no_args_is_help=True)
out = Console(highlight=False)

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
    found = graveyard.matching(client, name, which)
    if group:
        rows = dead.groups(found)
        _print_json([rows]) if as_json else out.print(dead.grouped(rows))
    elif as_json:
        _print_json(one.json() for one in found)
    else:
        out.print(dead.listed(found))


@app.command()
def show(letter: Id, destination: Destination = None) -> None:
    """Show everything about one dead letter, as JSON."""
    client, name = _queue(destination)
    told = dead.shown(client, name, dead.grave(client, name, letter))
    print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())  # noqa: T201


@app.command()
def edit(
    letter: Id,
    destination: Destination = None,
    patch: Annotated[
        str | None, typer.Option(help="A JSON merge patch of the event; without it $EDITOR opens.")
    ] = None,
) -> None:
    """Mend the event of a dead letter; the first one is kept with it."""
    client, name = _queue(destination)
    dead.edit(client, name, dead.grave(client, name, letter), patch)
    out.print(f"dead letter {letter} was edited; `segue dead replay {letter}` sends it")


@app.command()
@filtered
def replay(
    which: Filter,
    destination: Destination = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")] = False,
    rate: Annotated[int, typer.Option(min=1, help="Most dead letters per second.")] = 500,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters again, mapped anew, each person's in their order and after what is live for them.

    The workers do it. Ctrl-C leaves it running; `segue dead replays` shows it, `segue dead cancel` stops it. What is
    replayed twice, or by two people, is sent once.
    """
    client, name = _queue(destination)
    _must_exist(client, name, which.ids)
    if dry_run:
        figures = dead.rehearse(client, mapping.destinations(Settings.load().document())[name], which)
        _print_json([figures]) if as_json else out.print(dead.rehearsed(figures))
        return
    begun = dead.replay(client, name, which, rate)
    if not detach and begun.state == "running":
        try:
            begun = dead.watch(client, name, begun.id, Console(stderr=True))
        except KeyboardInterrupt:
            out.print(f"replay {begun.id} goes on; `segue dead cancel {begun.id}` stops it")
            raise typer.Exit(130) from None
    if as_json:
        _print_json([_replay_json(begun)])
    else:
        out.print(f"replay {begun.id}: {begun.state}, {begun.done:,} of {begun.total:,} put back on the queue")


@app.command(name="replays")
def list_replays(destination: Destination = None) -> None:
    """Show who replayed what, and how far it is, as JSON lines, the newest first."""
    client, name = _queue(destination)
    _print_json(_replay_json(one) for one in replays.history(client, name))


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
def skip(
    ids: Annotated[list[int], typer.Argument(help="Ids of dead letters.")], destination: Destination = None
) -> None:
    """Give up on dead letters; events that wait behind them go on."""
    client, name = _queue(destination)
    _must_exist(client, name, ids)
    count = dead.discard(client, name, Filter(ids=tuple(ids)), _hold_ms())
    out.print(f"{count:,} dead letters skipped")


@app.command()
@filtered
def purge(
    which: Filter,
    destination: Destination = None,
    yes: Yes = False,
) -> None:
    """Remove dead letters for good; asks first."""
    client, name = _queue(destination)
    _must_exist(client, name, which.ids)
    count = sum(1 for _ in graveyard.matching(client, name, which))
    if count and dead.confirmed(count, "removed", yes):
        out.print(f"{dead.discard(client, name, which, _hold_ms()):,} dead letters removed")
    else:
        out.print("nothing was removed")


@app.command()
@filtered
def export(
    which: Filter,
    destination: Destination = None,
) -> None:
    """Print dead letters as JSON lines that `segue dead import` takes."""
    client, name = _queue(destination)
    for line in dead.exported(graveyard.matching(client, name, which)):
        print(line)  # noqa: T201


@app.command(name="import")
def import_letters(
    file: Annotated[str, typer.Argument(help="Exported JSON lines; - is stdin.")] = "-",
    destination: Destination = None,
) -> None:
    """Add dead letters from exported lines: all of them, or none when one cannot be read."""
    client, name = _queue(destination)
    lines = sys.stdin if file == "-" else Path(file).read_text(encoding="utf-8").splitlines()
    there = mapping.destinations(Settings.load().document())[name]
    out.print(f"{dead.imported(client, there, lines):,} dead letters imported")


@app.command()
def stats(destination: Destination = None) -> None:
    """Print how many dead letters there are, and why, as JSON."""
    client, name = _queue(destination)
    _print_json([dead.stats(client, name)])


def _queue(destination: str | None) -> tuple[redis.Redis, str]:
    settings = Settings.load()
    names = list(settings.document().get("destinations", {}))
    if destination is None and len(names) != 1:
        raise CommandError(f"say --destination: there are {', '.join(names) or 'none'}")
    if destination is not None and destination not in names:
        raise CommandError(f'there is no destination "{destination}"; there are {", ".join(names)}')
    url = running.environment(settings).get("REDIS_URL", settings.redis_url)
    return redis.Redis.from_url(url, socket_timeout=30, socket_connect_timeout=5), destination or names[0]


def _must_exist(client: redis.Redis, name: str, ids: Iterable[int]) -> None:
    for letter in ids:
        dead.grave(client, name, letter)


def _hold_ms() -> int:
    return int(Settings.load().settle_s * 1000)


def _ms(time: datetime | None) -> int | None:
    return None if time is None else int(time.replace(tzinfo=UTC).timestamp() * 1000)


def _replay_json(one: replays.Replay) -> dict[str, Any]:
    return {
        "id": one.id,
        "who": one.who,
        "started_at_ms": one.started_at_ms,
        "filter": one.wanted.model_dump(exclude_defaults=True),
        "total": one.total,
        "done": one.done,
        "state": one.state,
    }


def _print_json(values: Iterable[Any]) -> None:
    for value in values:
        print(orjson.dumps(value).decode())  # noqa: T201
