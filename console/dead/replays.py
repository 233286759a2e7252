"""Replays of dead letters as operators see them: start, watch and list. `dead_letters.replay` carries them out."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import lanes
from console import output
from console.errors import CommandError
from console.operator import operator
from console.state import available
from dead_letters import query
from dead_letters import replay as replays
from dead_letters.query import Filter

_POLL_S = 0.2


def start(queue: lanes.Queue, wanted: Filter, per_s: int, mode: replays.Mode) -> replays.Replay:
    """Start a replay in the name of the operator, or join the running one with the same filter and mode."""
    return replays.begin(queue, wanted, who=operator(), per_s=per_s, mode=mode)


def concerned(queues: Collection[lanes.Queue], wanted: Filter) -> list[lanes.Queue]:
    """Return the queues with dead letters that match; the first one, when none has any."""
    found = [queue for queue in queues if next(query.matching(queue, wanted), None) is not None]
    return found or list(queues)[:1]


def history(queues: Iterable[lanes.Queue]) -> list[tuple[str, replays.Replay]]:
    """Return the last replays with the names of their destinations, the newest first."""
    found = [(queue.name, replay) for queue in queues for replay in replays.history(queue)]
    return sorted(found, key=lambda pair: pair[1].started_at_ms, reverse=True)


def watch(queue: lanes.Queue, running: replays.Replay, console: Console) -> replays.Replay:
    """Show the progress of a replay until it ends, and return it. KeyboardInterrupt leaves the replay running."""
    facts = f"{running.mode}, {output.counted(running.total, 'dead letter')}, at most {running.per_s:,}/s"
    console.print(f"replay {running.id} of {running.who}: {facts}; Ctrl-C leaves it running", soft_wrap=True)
    if available.workers(queue.client) == 0:
        console.print("no worker is running; the replay starts when one does", style="yellow")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("", total=None, rate="")
        while True:
            now = replays.read(queue, running.id)
            if now is None:
                raise CommandError(f"{queue.name} has no replay {running.id}")
            rate = f"{progress.tasks[0].speed or 0:.0f}/s"
            progress.update(task, description=now.mode, total=now.total, completed=now.processed, rate=rate)
            if now.state != "running":
                return now
            time.sleep(_POLL_S)


def replay_json(replay: replays.Replay, destination: str) -> dict[str, Any]:
    """Return the audit record of a replay; that of a dry run has the members of `dry_run_json` as well."""
    record = {
        "id": replay.id,
        "destination": destination,
        "mode": replay.mode,
        "who": replay.who,
        "started_at_ms": replay.started_at_ms,
        "ended_at_ms": replay.ended_at_ms or None,
        "filter": replay.wanted.model_dump(exclude_defaults=True),
        "per_s": replay.per_s,
        "total": replay.total,
        "done": replay.done,
        "missing": replay.missing,
        "skipped": replay.skipped,
        "state": replay.state,
    }
    return record | dry_run_json(replay) if replay.mode == "dry_run" else record


def dry_run_json(replay: replays.Replay) -> dict[str, Any]:
    """Return the result of a dry run: `{"dead_letters", "people", "fail_again", "changed", "operations", "changes",
    "risks"}`, the last three as counts by kind."""
    return {
        "dead_letters": replay.processed,
        "people": replay.figures.get("people", 0),
        "fail_again": replay.figures.get("fail_again", 0),
        "changed": replay.figures.get("changed", 0),
        "operations": _kinds(replay.figures, "operation:"),
        "changes": _kinds(replay.figures, "change:"),
        "risks": _kinds(replay.figures, "risk:"),
    }


def _kinds(counts: dict[str, int], prefix: str) -> dict[str, int]:
    found = [(name.removeprefix(prefix), count) for name, count in counts.items() if name.startswith(prefix)]
    return dict(sorted(found, key=lambda pair: (-pair[1], pair[0])))


def render_dry_run(replay: replays.Replay) -> RenderableType:
    """Return the result of a dry run as a table."""
    result = dry_run_json(replay)
    return output.figures(
        [
            ("dead letters", f"{result['dead_letters']:,}"),
            ("people that they change", f"{result['people']:,}"),
            *((f"would send: {operation}", f"{count:,}") for operation, count in result["operations"].items()),
            ("request differs from the refused one", f"{result['changed']:,}"),
            *((f"  changes: {field}", f"{count:,}") for field, count in result["changes"].items()),
            ("would fail again", f"{result['fail_again']:,}"),
            *((f"risk: {risk}", f"{count:,}") for risk, count in result["risks"].items()),
        ]
    )


def outcome(replay: replays.Replay) -> str:
    """Return the state and the progress of a replay as one line."""
    more = [f"{replay.missing:,} were already gone"] if replay.missing else []
    why = "not all of their requests are recorded, or their person is suppressed"
    more += [f"{replay.skipped:,} were skipped: {why}"] if replay.skipped else []
    progress = f"replay {replay.id}: {replay.state}, {replay.done:,} of {replay.total:,} requeued"
    return "; ".join([progress, *more])


def render_replays(found: Iterable[tuple[str, replays.Replay]]) -> RenderableType:
    """Return the replays as a list for people."""
    rows = []
    for name, replay in found:
        conditions = replay.wanted.model_dump(mode="json", exclude_defaults=True)
        wanted = ", ".join(f"{name}={value}" for name, value in conditions.items()) or "all"
        progress = f"{replay.state}, {replay.done:,} of {replay.total:,}"
        facts = f"{output.utc(replay.started_at_ms)}  {replay.mode}: {progress}; {wanted}"
        rows.append((replay.id, facts, f"started by {replay.who} for {name}"))
    return Group(output.entries(rows), output.counted(len(rows), "replay"))
