"""`segue dead`: what failed can be read, mended and sent again. Lists and bulk verbs share one filter.

The commands are thin; what they act on is `dead_letters.query`, what a replay does is `dead_letters.replay`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

import lanes
import mapping
from console.errors import CommandError
from console.operator import operator
from console.patching import patched
from dead_letters import dry_run, query, record, retention, spill_files
from dead_letters import replay as replays
from dead_letters.query import Filter
from dead_letters.record import DeadLetter
from mapping.envelope import unpack
from workers import heartbeat

_LOOK_S = 0.2
_SHOWN = 50
_OTHERS = 20
_LONGEST_NAME = 24


def wanted(**conditions: Any) -> Filter:
    """Return the filter of the given conditions; raise CommandError naming the one that is not possible."""
    try:
        return Filter(**{name: value for name, value in conditions.items() if value not in (None, ())})
    except ValidationError as error:
        raise CommandError("\n".join(map(_told, error.errors()))) from None


def _told(fault: ErrorDetails) -> str:
    return f"--{fault['loc'][0]}: {fault['msg'].removeprefix('Value error, ')}; it is {fault['input']!r}"


def grave(queue: lanes.Queue, sequence: int) -> DeadLetter:
    """Return one letter; raise CommandError when there is none."""
    found = lanes.get_dead_letters(queue, [sequence])
    if not found:
        raise CommandError(f"{queue.name} has no dead letter {sequence}; `segue dead list` shows those there are")
    return record.read(found[0])


def listed(graves: Iterable[DeadLetter]) -> RenderableType:
    """Return the letters as a table, the first few of them."""
    table = Table(box=None, header_style="bold")
    for column in ("id", "buried", "reason", "action"):
        table.add_column(column, overflow="fold")
    table.add_column("event", overflow="ellipsis", no_wrap=True, max_width=_LONGEST_NAME)
    for column in ("source", "message"):
        table.add_column(column, overflow="fold")
    count = 0
    for count, one in enumerate(graves, start=1):
        if count <= _SHOWN:
            mark = " (blocks)" if one.blocks else ""
            row = (_when(one.failure.buried_at_ms), one.failure.reason, one.action or "–", one.name, one.source)
            table.add_row(str(one.sequence), *row, one.failure.message + mark)
    more = f"{count - _SHOWN:,} more; --json shows all" if count > _SHOWN else f"{count:,} dead letters"
    return Group(table, more)


def groups(graves: Iterable[DeadLetter]) -> list[dict[str, Any]]:
    """Return one row for each kind of error, the most frequent first: `{"class", "subscription", "action", "message",
    "count"}`."""
    counted = Counter(map(query.kind_of, graves))
    return [
        {"class": reason, "subscription": subscription, "action": action, "message": message, "count": count}
        for (reason, subscription, action, message), count in counted.most_common()
    ]


def grouped(rows: list[dict[str, Any]]) -> RenderableType:
    table = Table(box=None, header_style="bold")
    for column in ("count", "reason", "subscription", "action", "message"):
        table.add_column(column, justify="right" if column == "count" else "left", overflow="fold")
    for row in rows:
        at_fault = (row["subscription"] or "–", row["action"] or "–")
        table.add_row(f"{row['count']:,}", row["class"], *at_fault, row["message"])
    return table


def shown(queue: lanes.Queue, destination: mapping.Destination, one: DeadLetter) -> dict[str, Any]:
    """Return everything about a letter, what sending it now would come to, and the person's events that wait."""
    (would_send,) = dry_run.run(queue, [one], destination, time.time())
    waiting = {
        other.sequence: other
        for digest in one.stored.keys
        for other in lanes.lane_events(queue, digest, most=_OTHERS + 1)
        if other.sequence != one.sequence
    }
    return one.json() | {
        "destination": queue.name,
        "would_send": would_send.json(),
        "waiting": [_waiting(waiting[sequence]) for sequence in sorted(waiting)[:_OTHERS]],
    }


def _waiting(other: lanes.Waiting) -> dict[str, Any]:
    source, event, _ = unpack(other.body)
    return {
        "sequence": other.sequence,
        "accepted_at_ms": other.accepted_at_ms,
        "source": source,
        "type": event.get("type"),
        "name": event.get("event") or event.get("name") or "",
        "message_id": event.get("messageId"),
    }


def edit(queue: lanes.Queue, destination: mapping.Destination, one: DeadLetter, patch: str | None) -> None:
    """Replace the event by what the patch, or the operator's editor, makes of it; the first one is kept.

    Raises CommandError, and changes nothing, when the result is no JSON object, or when somebody else would take the
    place that the letter holds.
    """
    event = patched(one.event, patch) if patch is not None else _edited(one.event)
    others = [key for key in mapping.ordering_info(event, destination).keys if lanes.digest(key) not in one.stored.keys]
    if one.blocks and others:
        raise CommandError(
            f"dead letter {one.sequence} holds its person's place, which cannot become that of {', '.join(others)}; "
            "skip it and send another event; nothing was changed"
        )
    if not query.edit(queue, one, event):
        raise CommandError(
            f"dead letter {one.sequence} was replayed, removed or edited by somebody meanwhile; nothing was changed"
        )


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


def replay(queue: lanes.Queue, which: Filter, per_s: int, mode: replays.Mode) -> replays.Replay:
    """Begin a replay in the name of whoever runs this, or join the one that is under way."""
    return replays.begin(queue, which, who=operator(), per_s=per_s, mode=mode)


def watch(queue: lanes.Queue, begun: replays.Replay, console: Console) -> replays.Replay:
    """Show the replay's progress until it ends; Ctrl-C leaves it running."""
    told = f"{begun.mode}, {begun.total:,} dead letters, at most {begun.per_s:,}/s"
    console.print(f"replay {begun.id} of {begun.who}: {told}; Ctrl-C leaves it running", highlight=False)
    if not heartbeat.count(queue.client):
        console.print("no worker is running: it begins when one does", style="yellow")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("", total=None, rate="")
        while True:
            now = replays.read(queue, begun.id)
            if now is None:
                raise CommandError(f"{queue.name} has no replay {begun.id}")
            rate = f"{progress.tasks[0].speed or 0:.0f}/s"
            progress.update(task, description=now.mode, total=now.total, completed=now.processed, rate=rate)
            if now.state != "running":
                return now
            time.sleep(_LOOK_S)


def replay_json(one: replays.Replay) -> dict[str, Any]:
    """Return the audit record of a replay."""
    told = {
        "id": one.id,
        "mode": one.mode,
        "who": one.who,
        "started_at_ms": one.started_at_ms,
        "ended_at_ms": one.ended_at_ms or None,
        "filter": one.wanted.model_dump(exclude_defaults=True),
        "per_s": one.per_s,
        "total": one.total,
        "done": one.done,
        "missing": one.missing,
        "skipped": one.skipped,
        "state": one.state,
    }
    return told | plan_json(one) if one.mode == "dry_run" else told


def plan_json(one: replays.Replay) -> dict[str, Any]:
    """Return what a dry run found: `{"dead_letters", "fail_again", "changed", "operations", "changes", "risks"}`."""
    return {
        "dead_letters": one.processed,
        "fail_again": one.figures.get("fail_again", 0),
        "changed": one.figures.get("changed", 0),
        "operations": _kinds(one.figures, "operation:"),
        "changes": _kinds(one.figures, "change:"),
        "risks": _kinds(one.figures, "risk:"),
    }


def _kinds(plan: dict[str, int], prefix: str) -> dict[str, int]:
    found = [(name.removeprefix(prefix), count) for name, count in plan.items() if name.startswith(prefix)]
    return dict(sorted(found, key=lambda pair: (-pair[1], pair[0])))


def planned(one: replays.Replay) -> RenderableType:
    """Return a dry run as a table."""
    plan = plan_json(one)
    table = Table(box=None, show_header=False)
    table.add_row("dead letters", f"{plan['dead_letters']:,}")
    for operation, count in plan["operations"].items():
        table.add_row(f"would send: {operation}", f"{count:,}")
    table.add_row("another request than the one refused", f"{plan['changed']:,}")
    for field, count in plan["changes"].items():
        table.add_row(f"  changes: {field}", f"{count:,}")
    table.add_row("would fail again", f"{plan['fail_again']:,}")
    for risk, count in plan["risks"].items():
        table.add_row(f"[yellow]risk[/]: {risk}", f"{count:,}")
    return table


def outcome(one: replays.Replay) -> str:
    """Return how a replay ended, or how far it is, as one line."""
    more = [f"{one.missing:,} were gone already"] if one.missing else []
    more += [f"{one.skipped:,} stay, not all of their requests are known"] if one.skipped else []
    told = f"replay {one.id}: {one.state}, {one.done:,} of {one.total:,} put back on the queue"
    return "; ".join([told, *more])


def audited(found: Iterable[replays.Replay]) -> RenderableType:
    """Return the replays as a table."""
    table = Table(box=None, header_style="bold")
    for column in ("id", "begun", "who", "what", "filter", "done", "of", "state"):
        table.add_column(column, overflow="fold")
    for one in found:
        conditions = one.wanted.model_dump(mode="json", exclude_defaults=True)
        told = ", ".join(f"{name}={value}" for name, value in conditions.items()) or "all"
        figures = (f"{one.done:,}", f"{one.total:,}", one.state)
        table.add_row(one.id, _when(one.started_at_ms), one.who, one.mode, told, *figures)
    return table


def discard(queue: lanes.Queue, which: Filter) -> int:
    """Remove the letters for good; what is behind those that hold goes on. Return how many there were."""
    removed, last = 0, 0
    while True:
        graves, looked_at = query.page(queue, which, after=last)
        sequences = [grave.sequence for grave in graves]
        removed += lanes.discard(queue, sequences)
        if looked_at is None:
            return removed
        last = looked_at


def stats(queue: lanes.Queue, destination: mapping.Destination, spill_dir: Path | None) -> dict[str, Any]:
    """Return `{"destination", "dead", "blocking", "most", "by_reason", "oldest_buried_at_ms", "spilled_total",
    "spill_files", "alarm"}`."""
    by_reason: Counter[str] = Counter()
    oldest = None
    for one in query.matching(queue, Filter()):
        by_reason[one.failure.reason.value] += 1
        oldest = min(oldest or one.failure.buried_at_ms, one.failure.buried_at_ms)
    figures = lanes.stats(queue)
    return {
        "destination": queue.name,
        "dead": figures.dead,
        "blocking": figures.blocking,
        "most": destination.delivery.dead_letters,
        "by_reason": dict(by_reason),
        "oldest_buried_at_ms": oldest,
        "spilled_total": figures.spilled_total,
        "spill_files": [str(file) for file in spill_files.files(spill_dir, queue.name)] if spill_dir else [],
        "alarm": retention.exceeded(queue, destination.delivery, int(time.time() * 1000)),
    }


def counted(figures: dict[str, Any]) -> RenderableType:
    """Return the figures of `stats` as a table."""
    table = Table(Column(overflow="fold"), "", box=None, show_header=False)
    table.add_row("dead letters", f"{figures['dead']:,} of at most {figures['most']:,}")
    for reason, count in sorted(figures["by_reason"].items()):
        table.add_row(f"  {reason}", f"{count:,}")
    table.add_row("that hold a person up", f"{figures['blocking']:,}")
    if figures["oldest_buried_at_ms"]:
        table.add_row("the oldest was set aside", _when(figures["oldest_buried_at_ms"]))
    table.add_row("went to spill files", f"{figures['spilled_total']:,}")
    for file in map(Path, figures["spill_files"]):
        table.add_row(str(file.parent), file.name)
    if figures["alarm"]:
        table.add_row("[red]alarm[/]", figures["alarm"])
    return table


def confirmed(count: int, what: str, yes: bool) -> bool:
    """Return whether the operator wants it; without a terminal only `--yes` says so."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise CommandError(f"{count:,} dead letters would be {what}; say --yes to do that without a terminal")
    return input(f"{count:,} dead letters will be {what} for good. Continue? [y/N] ").strip().lower() in ("y", "yes")


def _when(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(ms / 1000))
