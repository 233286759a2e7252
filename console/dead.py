"""`segue dead`: what failed can be read, mended and sent again. Lists and bulk verbs share one filter.

The commands are thin; what they act on is `workers.graveyard`, what a replay does is `workers.replays`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import redis
from pydantic import ValidationError
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import lanes
import mapping
from console.errors import CommandError
from console.operator import operator
from mapping.event import pack
from workers import graveyard, rehearsal, replays
from workers.graveyard import Filter, Grave

_LOOK_S = 0.2
_SHOWN = 50
_PAGE = 500


def wanted(**conditions: Any) -> Filter:
    """Return the filter of the given conditions; raise CommandError naming the one that is not possible."""
    try:
        return Filter(**{name: value for name, value in conditions.items() if value not in (None, ())})
    except ValidationError as error:
        faults = [f"{fault['loc'][0]}: {fault['msg']} (it is {fault['input']!r})" for fault in error.errors()]
        raise CommandError("\n".join(faults)) from None


def grave(client: redis.Redis, queue: str, sequence: int) -> Grave:
    """Return one letter; raise CommandError when there is none."""
    found = lanes.letter(client, queue, sequence)
    if found is None:
        raise CommandError(f"{queue} has no dead letter {sequence}; `segue dead list` shows those there are")
    return graveyard.read(found)


def listed(graves: Iterable[Grave]) -> RenderableType:
    """Return the letters as a table, the first few of them."""
    table = Table(box=None, header_style="bold")
    for column in ("id", "buried", "reason", "action", "event", "source", "message"):
        table.add_column(column, overflow="fold")
    count = 0
    for count, one in enumerate(graves, start=1):
        if count <= _SHOWN:
            mark = " (holds)" if one.letter.holds else ""
            row = (_when(one.why["buried_at_ms"]), one.why["class"], one.action or "–", one.name, one.source)
            table.add_row(str(one.sequence), *row, one.why["message"] + mark)
    more = f"{count - _SHOWN:,} more; --json shows all" if count > _SHOWN else f"{count:,} dead letters"
    return Group(table, more)


def groups(graves: Iterable[Grave]) -> list[dict[str, Any]]:
    """Return one row for each kind of error, the most frequent first: `{"class", "action", "message", "count"}`."""
    counted = Counter(one.signature for one in graves)
    return [
        {"class": reason, "action": action or None, "message": message, "count": count}
        for (reason, action, message), count in counted.most_common()
    ]


def grouped(rows: list[dict[str, Any]]) -> RenderableType:
    table = Table(box=None, header_style="bold")
    for column in ("count", "reason", "action", "message"):
        table.add_column(column, justify="right" if column == "count" else "left", overflow="fold")
    for row in rows:
        table.add_row(f"{row['count']:,}", row["class"], row["action"] or "–", row["message"])
    return table


def shown(client: redis.Redis, queue: str, one: Grave) -> dict[str, Any]:
    """Return everything about a letter, and how many events share each of its lanes."""
    lanes_of = [lanes.inspect(client, queue, digest) for digest in one.letter.keys]
    return one.json() | {"destination": queue, "waiting_behind": sum(lane.length for lane in lanes_of if lane)}


def edit(client: redis.Redis, queue: str, one: Grave, patch: str | None) -> None:
    """Replace the event by what the patch, or the operator's editor, makes of it; the first one is kept.

    Raises CommandError, and changes nothing, when the result is no JSON object.
    """
    event = _patched(one.event, patch) if patch is not None else _edited(one.event)
    if not graveyard.edit(client, queue, one, event):
        raise CommandError(f"dead letter {one.sequence} is not there any more")


def _patched(event: dict[str, Any], patch: str) -> dict[str, Any]:
    """Return the event with a JSON merge patch (RFC 7396) applied."""
    try:
        changes = orjson.loads(patch)
    except orjson.JSONDecodeError as error:
        raise CommandError(f"the patch is not JSON: {error}") from None
    if not isinstance(changes, dict):
        raise CommandError('the patch must be an object such as {"properties": {"url": "https://example.com"}}')
    merged: dict[str, Any] = _merged(event, changes)
    return merged


def _merged(target: Any, changes: Any) -> Any:
    if not isinstance(changes, dict):
        return changes
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def _edited(event: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        draft = Path(directory) / "event.json"
        draft.write_bytes(orjson.dumps(event, option=orjson.OPT_INDENT_2))
        editor = os.environ.get("EDITOR", "vi")
        try:
            ended = subprocess.run([*editor.split(), str(draft)], check=False).returncode
        except OSError as error:
            raise CommandError(f"EDITOR={editor}: {error.strerror}; nothing was changed") from None
        if ended != 0:
            raise CommandError(f"EDITOR={editor}: exit code {ended}; nothing was changed")
        try:
            edited = orjson.loads(draft.read_bytes())
        except orjson.JSONDecodeError as error:
            raise CommandError(f"what was written is not JSON: {error}; nothing was changed") from None
    if not isinstance(edited, dict):
        raise CommandError("an event must be a JSON object; nothing was changed")
    return edited


def rehearse(client: redis.Redis, destination: mapping.Destination, which: Filter) -> dict[str, Any]:
    """Return what a replay would do: `{"letters", "operations", "fail_again", "changed", "risks"}`."""
    operations: Counter[str] = Counter()
    risks: Counter[str] = Counter()
    figures = Counter(letters=0, fail_again=0, changed=0)
    now_s = time.time()
    for one in graveyard.matching(client, destination.name, which):
        told = rehearsal.rehearse(client, one, destination, now_s)
        figures["letters"] += 1
        figures["fail_again"] += bool(told.failures)
        figures["changed"] += told.changed
        operations.update(f"{body.get('type', 'metric')} {body.get('action', '')}".strip() for body in told.operations)
        risks.update(told.risks)
    return {**figures, "operations": dict(operations), "risks": dict(risks)}


def rehearsed(figures: dict[str, Any]) -> RenderableType:
    table = Table(box=None, show_header=False)
    table.add_row("dead letters", f"{figures['letters']:,}")
    for operation, count in figures["operations"].items():
        table.add_row(f"would send: {operation}", f"{count:,}")
    table.add_row("other request than before", f"{figures['changed']:,}")
    table.add_row("would fail again", f"{figures['fail_again']:,}")
    for risk, count in figures["risks"].items():
        table.add_row(f"[yellow]risk[/]: {risk}", f"{count:,}")
    return table


def replay(client: redis.Redis, queue: str, which: Filter, per_s: int) -> replays.Replay:
    """Begin a replay in the name of whoever runs this."""
    return replays.begin(client, queue, which, who=operator(), per_s=per_s)


def watch(client: redis.Redis, queue: str, replay_id: str, console: Console) -> replays.Replay:
    """Show the replay's progress until it ends; Ctrl-C leaves it running."""
    columns = (TextColumn("replayed"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("replay", total=None, rate="")
        while True:
            now = replays.read(client, queue, replay_id)
            if now is None:
                raise CommandError(f"{queue} has no replay {replay_id}")
            rate = f"{progress.tasks[0].speed or 0:.0f}/s"
            progress.update(task, total=now.total, completed=now.done, rate=rate)
            if now.state != "running":
                return now
            time.sleep(_LOOK_S)


def discard(client: redis.Redis, queue: str, which: Filter, longest_hold_ms: int) -> int:
    """Remove the letters for good; what is behind those that hold goes on. Return how many there were."""
    removed = 0
    batch: list[int] = []
    for one in [grave.sequence for grave in graveyard.matching(client, queue, which)]:
        batch.append(one)
        if len(batch) == _PAGE:
            removed += len(lanes.discard(client, queue, batch, longest_hold_ms=longest_hold_ms))
            batch = []
    return removed + len(lanes.discard(client, queue, batch, longest_hold_ms=longest_hold_ms))


def exported(graves: Iterable[Grave]) -> Iterator[str]:
    """Yield a line of JSON for each letter: `{"source", "event", "why"}`."""
    return (json.dumps({"source": one.source, "event": one.event, "why": one.why}) for one in graves)


def imported(client: redis.Redis, destination: mapping.Destination, lines: Iterable[str]) -> int:
    """Add the letters of exported lines; all of them or none. Return how many.

    Raises CommandError naming the first line that is not one.
    """
    events = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            source, event, why = _read_line(number, line)
            keys = mapping.ordering_keys(event, destination)
            events.append((pack(source, event), keys, orjson.dumps(why)))
    return lanes.bury(client, destination.name, events)


def _read_line(number: int, line: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    try:
        told = orjson.loads(line)
        source, event, why = told["source"], told["event"], told["why"]
        if not isinstance(event, dict) or not {"class", "message", "faults", "buried_at_ms"} <= why.keys():
            raise TypeError
    except orjson.JSONDecodeError as error:
        raise CommandError(f"line {number} is not JSON ({error}); nothing was imported") from None
    except (KeyError, TypeError, AttributeError):
        form = '{"source": …, "event": {…}, "why": {…}}'
        raise CommandError(f"line {number} is not a dead letter like {form}; nothing was imported") from None
    return source, event, why


def stats(client: redis.Redis, queue: str) -> dict[str, Any]:
    """Return `{"destination", "dead", "held", "by_reason", "oldest_buried_at_ms"}`."""
    by_reason: Counter[str] = Counter()
    oldest = None
    for one in graveyard.matching(client, queue, Filter()):
        by_reason[one.why["class"]] += 1
        oldest = min(oldest or one.why["buried_at_ms"], one.why["buried_at_ms"])
    figures = lanes.stats(client, queue)
    return {
        "destination": queue,
        "dead": figures.dead,
        "held": figures.held,
        "by_reason": dict(by_reason),
        "oldest_buried_at_ms": oldest,
    }


def confirmed(count: int, what: str, yes: bool) -> bool:
    """Return whether the operator wants it; without a terminal only `--yes` says so."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise CommandError(f"{count:,} dead letters would be {what}; say --yes to do that without a terminal")
    return input(f"{count:,} dead letters will be {what} for good. Continue? [y/N] ").strip().lower() in ("y", "yes")


def _when(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))
