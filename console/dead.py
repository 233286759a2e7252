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
import redis
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

import lanes
import mapping
from console import output
from console.errors import CommandError
from console.operator import operator
from console.patching import patched
from dead_letters import dry_run, query, retention, spill_files
from dead_letters import replay as replays
from dead_letters.query import Filter, Grave
from mapping.envelope import unpack
from workers import heartbeat

_LOOK_S = 0.2
_SHOWN = 50
_OTHERS = 20


def wanted(**conditions: Any) -> Filter:
    """Return the filter of the given conditions; raise CommandError naming the one that is not possible."""
    try:
        return Filter(**{name: value for name, value in conditions.items() if value not in (None, ())})
    except ValidationError as error:
        raise CommandError("\n".join(map(_told, error.errors()))) from None


def _told(fault: ErrorDetails) -> str:
    return f"--{fault['loc'][0]}: {fault['msg'].removeprefix('Value error, ')}; it is {fault['input']!r}"


def grave(client: redis.Redis, queue: str, sequence: int) -> Grave:
    """Return one letter; raise CommandError when there is none."""
    found = lanes.named_letters(client, queue, [sequence])
    if not found:
        raise CommandError(f"{queue} has no dead letter {sequence}; `segue dead list` shows those there are")
    return query.read(found[0])


def listed(graves: Iterable[Grave]) -> RenderableType:
    """Return the letters as a list for people, the first few of them, and how many there are."""
    rows: list[tuple[str, str, str]] = []
    count = 0
    for count, one in enumerate(graves, start=1):
        if count <= _SHOWN:
            why, blocks = one.why, " (blocking)" if one.letter.holds else ""
            when, reason = output.utc(why["buried_at_ms"]), f"{why['class']:<9}"
            facts = f"{when}  {reason}  {one.action or '–'}  {one.name} from {one.source}{blocks}"
            rows.append((str(one.sequence), facts, why["message"]))
    more = f"{count - _SHOWN:,} more; --json shows all" if count > _SHOWN else output.counted(count, "dead letter")
    return Group(output.entries(rows), more)


def groups(graves: Iterable[Grave]) -> list[dict[str, Any]]:
    """Return one row for each kind of error, the most frequent first: `{"class", "subscription", "action", "message",
    "count"}`."""
    counted = Counter(one.signature for one in graves)
    return [
        {"class": reason, "subscription": subscription, "action": action, "message": message, "count": count}
        for (reason, subscription, action, message), count in counted.most_common()
    ]


def grouped(rows: list[dict[str, Any]]) -> RenderableType:
    """Return the rows of `groups` as a list for people."""
    return output.entries(
        (f"{row['count']:,}", f"{row['class']:<9}  {_at_fault(row['subscription'], row['action'])}", row["message"])
        for row in rows
    )


def _at_fault(subscription: str | None, action: str | None) -> str:
    return f"{subscription} ({action})" if subscription and action else subscription or action or "–"


def shown(client: redis.Redis, destination: mapping.Destination, one: Grave) -> dict[str, Any]:
    """Return everything about a letter, what sending it now would come to, and the person's events that wait."""
    queue = destination.name
    (would_send,) = dry_run.rehearse(client, [one], destination, time.time())
    waiting = {
        other.sequence: other
        for digest in one.letter.keys
        for other in lanes.queue_of(client, queue, digest, most=_OTHERS + 1)
        if other.sequence != one.sequence
    }
    return one.json() | {
        "destination": queue,
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


def edit(client: redis.Redis, destination: mapping.Destination, one: Grave, patch: str | None) -> None:
    """Replace the event by what the patch, or the operator's editor, makes of it; the first one is kept.

    Raises CommandError, and changes nothing, when the result is no JSON object, or when somebody else would take the
    place that the letter holds.
    """
    event = patched(one.event, patch) if patch is not None else _edited(one.event)
    others = [key for key in mapping.ordering_info(event, destination).keys if lanes.digest(key) not in one.letter.keys]
    if one.letter.holds and others:
        raise CommandError(
            f"dead letter {one.sequence} holds its person's place, which cannot become that of {', '.join(others)}; "
            "skip it and send another event; nothing was changed"
        )
    if not query.edit(client, destination.name, one, event):
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


def replay(client: redis.Redis, queue: str, which: Filter, per_s: int, mode: replays.Mode) -> replays.Replay:
    """Begin a replay in the name of whoever runs this, or join the one that is under way."""
    return replays.begin(client, queue, which, who=operator(), per_s=per_s, mode=mode)


def watch(client: redis.Redis, queue: str, begun: replays.Replay, console: Console) -> replays.Replay:
    """Show the replay's progress until it ends; Ctrl-C leaves it running."""
    told = f"{begun.mode}, {begun.total:,} dead letters, at most {begun.per_s:,}/s"
    console.print(f"replay {begun.id} of {begun.who}: {told}; Ctrl-C leaves it running", highlight=False)
    if not heartbeat.count(client):
        console.print("no worker is running: it begins when one does", style="yellow")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("", total=None, rate="")
        while True:
            now = replays.read(client, queue, begun.id)
            if now is None:
                raise CommandError(f"{queue} has no replay {begun.id}")
            rate = f"{progress.tasks[0].speed or 0:.0f}/s"
            progress.update(task, description=now.mode, total=now.total, completed=now.passed, rate=rate)
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
        "gone": one.gone,
        "left": one.left,
        "state": one.state,
    }
    return told | plan_json(one) if one.mode == "dry run" else told


def plan_json(one: replays.Replay) -> dict[str, Any]:
    """Return what a dry run found: `{"letters", "fail_again", "changed", "operations", "changes", "risks"}`."""
    return {
        "letters": one.passed,
        "fail_again": one.plan.get("fail_again", 0),
        "changed": one.plan.get("changed", 0),
        "operations": _kinds(one.plan, "operation:"),
        "changes": _kinds(one.plan, "change:"),
        "risks": _kinds(one.plan, "risk:"),
    }


def _kinds(plan: dict[str, int], prefix: str) -> dict[str, int]:
    found = [(name.removeprefix(prefix), count) for name, count in plan.items() if name.startswith(prefix)]
    return dict(sorted(found, key=lambda pair: (-pair[1], pair[0])))


def planned(one: replays.Replay) -> RenderableType:
    """Return the figures of a dry run as a table."""
    plan = plan_json(one)
    return output.figures(
        [
            ("dead letters", f"{plan['letters']:,}"),
            *((f"would send: {operation}", f"{count:,}") for operation, count in plan["operations"].items()),
            ("another request than the one refused", f"{plan['changed']:,}"),
            *((f"  changes: {field}", f"{count:,}") for field, count in plan["changes"].items()),
            ("would fail again", f"{plan['fail_again']:,}"),
            *((f"risk: {risk}", f"{count:,}") for risk, count in plan["risks"].items()),
        ]
    )


def outcome(one: replays.Replay) -> str:
    """Return how a replay ended, or how far it is, as one line."""
    more = [f"{one.gone:,} were gone already"] if one.gone else []
    more += [f"{one.left:,} stay, not all of their requests are known"] if one.left else []
    told = f"replay {one.id}: {one.state}, {one.done:,} of {one.total:,} put back on the queue"
    return "; ".join([told, *more])


def audited(found: Iterable[replays.Replay]) -> RenderableType:
    """Return the replays as a list for people."""
    rows = []
    for one in found:
        conditions = one.wanted.model_dump(mode="json", exclude_defaults=True)
        wanted = ", ".join(f"{name}={value}" for name, value in conditions.items()) or "all"
        progress = f"{one.state}, {one.done:,} of {one.total:,}"
        facts = f"{output.utc(one.started_at_ms)}  {one.mode}: {progress}; {wanted}"
        rows.append((one.id, facts, f"started by {one.who}"))
    return Group(output.entries(rows), output.counted(len(rows), "replay"))


def discard(client: redis.Redis, queue: str, which: Filter, longest_hold_ms: int) -> int:
    """Remove the letters for good; what is behind those that hold goes on. Return how many there were."""
    removed, last = 0, 0
    while True:
        graves, looked_at = query.page(client, queue, which, after=last)
        sequences = [grave.sequence for grave in graves]
        removed += lanes.discard(client, queue, sequences, longest_hold_ms=longest_hold_ms)
        if looked_at is None:
            return removed
        last = looked_at


def stats(client: redis.Redis, destination: mapping.Destination, spill_dir: Path | None) -> dict[str, Any]:
    """Return `{"destination", "dead", "blocking", "most", "by_reason", "oldest_buried_at_ms", "spilled_total",
    "spill_files", "alarm"}`."""
    queue = destination.name
    by_reason: Counter[str] = Counter()
    oldest = None
    for one in query.matching(client, queue, Filter()):
        by_reason[one.why["class"]] += 1
        oldest = min(oldest or one.why["buried_at_ms"], one.why["buried_at_ms"])
    figures = lanes.stats(client, queue)
    return {
        "destination": queue,
        "dead": figures.dead,
        "blocking": figures.held,
        "most": destination.delivery.dead_letters,
        "by_reason": dict(by_reason),
        "oldest_buried_at_ms": oldest,
        "spilled_total": figures.spilled_total,
        "spill_files": [str(file) for file in spill_files.files(spill_dir, queue)] if spill_dir else [],
        "alarm": retention.exceeded(client, queue, destination.delivery, int(time.time() * 1000)),
    }


def counted(figures: dict[str, Any]) -> RenderableType:
    """Return the figures of `stats` for people."""
    parts: list[RenderableType] = []
    if figures["alarm"]:
        parts.append(Text(f"alarm: {figures['alarm']}", style="bold red"))
    parts.append(
        output.figures(
            [
                ("dead letters", f"{figures['dead']:,}"),
                *((f"  {reason}", f"{count:,}") for reason, count in sorted(figures["by_reason"].items())),
                ("limit", f"{figures['most']:,}"),
                ("blocking", f"{figures['blocking']:,}"),
                ("in spill files", f"{figures['spilled_total']:,}"),
            ]
        )
    )
    if figures["oldest_buried_at_ms"]:
        parts.append(f"oldest buried at {output.utc(figures['oldest_buried_at_ms'])}")
    return Group(*parts, *(f"spill file {file}" for file in figures["spill_files"]))


def confirmed(count: int, what: str, yes: bool) -> bool:
    """Return whether the operator wants it; without a terminal only `--yes` says so."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise CommandError(f"{count:,} dead letters would be {what}; say --yes to do that without a terminal")
    return input(f"{count:,} dead letters will be {what} for good. Continue? [y/N] ").strip().lower() in ("y", "yes")
