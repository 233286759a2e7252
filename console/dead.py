"""What the commands of `segue dead` do and print, except for replays. Lists and bulk commands share one filter."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from rich.console import Group, RenderableType
from rich.text import Text

import lanes
import mapping
from console import output
from console.errors import CommandError
from console.patching import patched
from dead_letters import dry_run, query, record, retention, spill_files
from dead_letters.query import Filter
from dead_letters.record import DeadLetter
from mapping.envelope import SAFE_LEVELS, encoded, has_more_levels, unpack

# The most dead letters that `list` prints, and the most waiting events that `show` prints.
_MOST_LISTED = 50
_MOST_WAITING = 20


def filter_of(**conditions: Any) -> Filter:
    """Return the filter with the given conditions. Raises CommandError: a value is invalid; the message names it."""
    try:
        return Filter(**{name: value for name, value in conditions.items() if value not in (None, ())})
    except ValidationError as error:
        raise CommandError("\n".join(map(_described, error.errors()))) from None


def _described(fault: ErrorDetails) -> str:
    return f"--{fault['loc'][0]}: {fault['msg'].removeprefix('Value error, ')}; it is {fault['input']!r}"


def find(queue: lanes.Queue, sequence: int) -> DeadLetter:
    """Return the dead letter with this sequence. Raises CommandError: there is none."""
    found = lanes.get_dead_letters(queue, [sequence])
    if not found:
        raise CommandError(f"{queue.name} has no dead letter {sequence}; `segue dead list` shows the existing ones")
    return record.read(found[0])


def render_list(dead_letters: Iterable[DeadLetter]) -> RenderableType:
    """Return the first dead letters as a list for people, and the number of those that it leaves out."""
    rows: list[tuple[str, str, str]] = []
    count = 0
    for count, dead_letter in enumerate(dead_letters, start=1):
        if count <= _MOST_LISTED:
            rows.append(_entry(dead_letter))
    more = f"{count - _MOST_LISTED:,} more; --json prints all"
    return Group(output.entries(rows), more if count > _MOST_LISTED else output.counted(count, "dead letter"))


def _entry(dead_letter: DeadLetter) -> tuple[str, str, str]:
    failure, blocking = dead_letter.failure, " (blocking)" if dead_letter.blocks else ""
    event = f"{dead_letter.name} from {dead_letter.source}{blocking}"
    facts = f"{output.utc(failure.buried_at_ms)}  {failure.reason:<9}  {dead_letter.action or '–'}  {event}"
    return str(dead_letter.sequence), facts, failure.message


def groups(dead_letters: Iterable[DeadLetter]) -> list[dict[str, Any]]:
    """Return one row for each kind of error, the most frequent first: `{"class", "subscription", "action", "message",
    "count"}`."""
    counted = Counter(map(query.kind_of, dead_letters))
    return [
        {"class": reason, "subscription": subscription, "action": action, "message": message, "count": count}
        for (reason, subscription, action, message), count in counted.most_common()
    ]


def render_groups(rows: list[dict[str, Any]]) -> RenderableType:
    """Return the rows of `groups` as a list for people."""
    return output.entries(
        (f"{row['count']:,}", f"{row['class']:<9}  {_at_fault(row['subscription'], row['action'])}", row["message"])
        for row in rows
    )


def _at_fault(subscription: str | None, action: str | None) -> str:
    return f"{subscription} ({action})" if subscription and action else subscription or action or "–"


def details(queue: lanes.Queue, destination: mapping.Destination, dead_letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter with `{"destination", "would_send", "waiting"}`: the dry run of sending it now, and the
    first waiting events that share an ordering key with it."""
    (would_send,) = dry_run.run(queue, [dead_letter], destination, time.time())
    waiting = {
        other.sequence: other
        for digest in dead_letter.stored.keys
        for other in lanes.lane_events(queue, digest, most=_MOST_WAITING + 1)
        if other.sequence != dead_letter.sequence
    }
    return dead_letter.json() | {
        "destination": queue.name,
        "would_send": would_send.json(),
        "waiting": [_waiting_json(waiting[sequence]) for sequence in sorted(waiting)[:_MOST_WAITING]],
    }


def _waiting_json(waiting: lanes.Waiting) -> dict[str, Any]:
    source, event, _ = unpack(waiting.body)
    return {
        "sequence": waiting.sequence,
        "accepted_at_ms": waiting.accepted_at_ms,
        "source": source,
        "type": event.get("type"),
        "name": event.get("event") or event.get("name") or "",
        "message_id": event.get("messageId"),
    }


def edit(queue: lanes.Queue, destination: mapping.Destination, dead_letter: DeadLetter, patch: str | None) -> None:
    """Apply the patch to the event of a dead letter, or open the event in the operator's editor. The original event is
    kept in the dead letter.

    Raises CommandError, and changes nothing: the result is not a JSON object, the dead letter has changed meanwhile, or
    it blocks later events and the result has other ordering keys.
    """
    try:
        event = patched(dead_letter.event, patch) if patch is not None else _edited(dead_letter.event)
        dead_letter.edited(event)
    except (TypeError, ValueError, RecursionError) as error:
        raise CommandError(f"dead letter {dead_letter.sequence}: {error}; nothing was changed") from None
    keys = mapping.ordering_info(event, destination).keys
    new_keys = [key for key in keys if lanes.digest(key) not in dead_letter.stored.keys]
    if dead_letter.blocks and new_keys:
        raise CommandError(
            f"dead letter {dead_letter.sequence} blocks later events of its person, so its event cannot get the new "
            f"ordering keys {', '.join(new_keys)}; skip it and send another event; nothing was changed"
        )
    if not query.edit(queue, dead_letter, event):
        raise CommandError(
            f"dead letter {dead_letter.sequence} was replayed, removed or edited meanwhile; nothing was changed"
        )


def _edited(event: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        draft = Path(directory) / "event.json"
        draft.write_bytes(_draft(event))
        editor = os.environ.get("EDITOR", "vi")
        try:
            exit_code = subprocess.run([*editor.split(), str(draft)], check=False).returncode
        except OSError as error:
            raise CommandError(f"EDITOR={editor}: {error.strerror}; nothing was changed") from None
        if exit_code != 0:
            raise CommandError(f"EDITOR={editor}: exit code {exit_code}; nothing was changed")
        try:
            edited = orjson.loads(draft.read_bytes())
        except orjson.JSONDecodeError as error:
            raise CommandError(f"the edited event is not JSON: {error}; nothing was changed") from None
    if not isinstance(edited, dict):
        raise CommandError("an event must be a JSON object; nothing was changed")
    return edited


def _draft(event: dict[str, Any]) -> bytes:
    return encoded(event) if has_more_levels(event, SAFE_LEVELS) else orjson.dumps(event, option=orjson.OPT_INDENT_2)


def discard(queue: lanes.Queue, wanted: Filter) -> int:
    """Remove the dead letters that the filter matches, unblock the events behind them, and return their number."""
    removed, last = 0, 0
    while True:
        page, looked_at = query.page(queue, wanted, after=last)
        sequences = [dead_letter.sequence for dead_letter in page]
        removed += lanes.discard(queue, sequences)
        if looked_at is None:
            return removed
        last = looked_at


def stats(queue: lanes.Queue, destination: mapping.Destination, spill_dir: Path | None) -> dict[str, Any]:
    """Return `{"destination", "dead", "blocking", "most", "by_reason", "oldest_buried_at_ms", "spilled_total",
    "spill_files", "alarm"}`; `most` is the limit `dead_letters` of the destination."""
    by_reason: Counter[str] = Counter()
    oldest = None
    for dead_letter in query.matching(queue, Filter()):
        by_reason[dead_letter.failure.reason.value] += 1
        oldest = min(oldest or dead_letter.failure.buried_at_ms, dead_letter.failure.buried_at_ms)
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


def render_stats(figures: dict[str, Any]) -> RenderableType:
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
