"""What the commands of `segue dead` do and print, except for replays. Lists and bulk commands share one filter."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from rich.console import Group, RenderableType
from rich.text import Text

import lanes
import mapping
from console import output
from console.errors import CommandError
from console.session import Session
from console.state import events
from dead_letters import dry_run, query, record, retention, spill_files
from dead_letters.import_export import ImportPlan, Target
from dead_letters.query import Filter
from dead_letters.record import DeadLetter
from delivery.recording import discarded

# The most dead letters that `list` prints, and the most waiting events that `show` prints.
_MOST_LISTED = 50
_MOST_WAITING = 20


def filter_of(**conditions: Any) -> Filter:
    """Return the filter with the given conditions. Raises CommandError: a value is invalid; the message names it."""
    since_ms, until_ms = conditions.get("since_ms"), conditions.get("until_ms")
    if since_ms and until_ms and since_ms >= until_ms:
        raise CommandError("--until: must be after --since")
    try:
        return Filter(**{name: value for name, value in conditions.items() if value not in (None, ())})
    except ValidationError as error:
        raise CommandError("\n".join(map(_described, error.errors()))) from None


def _described(fault: ErrorDetails) -> str:
    return f"--{fault['loc'][0]}: {fault['msg'].removeprefix('Value error, ')}; it is {fault['input']!r}"


def queues(session: Session, destination: str | None) -> list[lanes.Queue]:
    """Return the queue of the destination, or all queues. Raises CommandError: there is none."""
    found = session.queues(session.chosen(destination))
    if not found:
        raise CommandError("no destination is configured")
    return found


def find(found_in: Collection[lanes.Queue], sequence: int) -> tuple[lanes.Queue, DeadLetter]:
    """Return the dead letter with this sequence, and its queue. Raises CommandError: there is none, or several queues
    have one."""
    found = [(queue, stored) for queue in found_in for stored in lanes.get_dead_letters(queue, [sequence])]
    names = ", ".join(queue.name for queue in found_in)
    if not found:
        none_has = f"{names} has no" if len(found_in) == 1 else f"none of {names} has a"
        raise CommandError(f"{none_has} dead letter {sequence}; `segue dead list` shows the existing ones")
    if len(found) > 1:
        raise CommandError(
            f"{' and '.join(queue.name for queue, _ in found)} have a dead letter {sequence}: say --destination"
        )
    queue, stored = found[0]
    return queue, record.read(stored)


def require_selection(wanted: Filter) -> None:
    """Raise CommandError when the filter has no condition."""
    if wanted == Filter():
        raise CommandError("name the dead letters: their ids, or options as for `segue dead list`")


def matching(found_in: Iterable[lanes.Queue], wanted: Filter) -> Iterator[tuple[str, DeadLetter]]:
    """Yield the dead letters that match, each with the name of its destination."""
    for queue in found_in:
        for dead_letter in query.matching(queue, wanted):
            yield queue.name, dead_letter


def listed_json(session: Session, name: str, dead_letter: DeadLetter) -> dict[str, Any]:
    """Return the members of a dead letter for `segue dead list --json`: `{"destination", "person", …}`."""
    return {"destination": name, "person": person_of(session.destinations[name], dead_letter)} | dead_letter.json()


def person_of(destination: mapping.Destination, dead_letter: DeadLetter) -> str | None:
    """Return the first ordering key of the dead letter; None: its event has none."""
    keys = dead_letter.failure.keys
    if not keys and not dead_letter.is_damaged:
        keys = mapping.ordering_info(dead_letter.event, destination).keys
    return keys[0] if keys else None


def render_list(session: Session, dead_letters: Iterable[tuple[str, DeadLetter]]) -> RenderableType:
    """Return the first dead letters as a list for people, and the number of those that it leaves out."""
    rows: list[tuple[str, str, str]] = []
    count = 0
    for count, (name, dead_letter) in enumerate(dead_letters, start=1):
        if count <= _MOST_LISTED:
            rows.append(_entry(session, name, dead_letter))
    more = f"{count - _MOST_LISTED:,} more; --json prints all"
    return Group(output.entries(rows), more if count > _MOST_LISTED else output.counted(count, "dead letter"))


def _entry(session: Session, name: str, dead_letter: DeadLetter) -> tuple[str, str, str]:
    failure, blocking = dead_letter.failure, " (blocking)" if dead_letter.blocks else ""
    person = person_of(session.destinations[name], dead_letter)
    where = f" for {name}" if len(session.destinations) > 1 else ""
    event = f"{dead_letter.name} of {person or 'no person'} from {dead_letter.source}{where}{blocking}"
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


def render_import(plan: ImportPlan) -> Iterator[str]:
    """Yield the plan of an import as lines."""
    yield f"{output.counted(plan.new, 'dead letter')} would be imported; {plan.existing:,} exist already"
    for name, number in plan.counts.items():
        yield f"  for {name}: {output.counted(number, 'line')}"
    for refused in plan.refused:
        where = "all lines" if refused.line is None else f"line {refused.line}"
        yield f"  refused, {where}{f', {refused.field}' if refused.field else ''}: {refused.fault}"
    if plan.refused_total:
        yield f"nothing would be imported: {output.counted(plan.refused_total, 'fault')}"


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
    return {
        "sequence": waiting.sequence,
        "accepted_at_ms": waiting.accepted_at_ms,
        **events.names(waiting.body),
    }


def import_targets(session: Session, destination: str | None) -> list[Target]:
    """Return where dead letters are imported: to one destination, or to all. Raises CommandError: there is none."""
    return [(session.new_queue(name), session.destinations[name]) for name in session.chosen(destination)]


def discard(queue: lanes.Queue, wanted: Filter) -> int:
    """Remove the dead letters that the filter matches, unblock the events behind them, and return their number."""
    removed, last = 0, 0
    while True:
        page, looked_at = query.page(queue, wanted, after=last)
        sequences = [dead_letter.sequence for dead_letter in page]
        removed += lanes.discard(queue, sequences)
        discarded.record(queue, (dead_letter.stored for dead_letter in page), "discarded", "")
        if looked_at is None:
            return removed
        last = looked_at


def exported(queues: Iterable[lanes.Queue], wanted: Filter) -> Iterator[bytes]:
    """Yield the dead letters that the filter matches as lines for `segue dead import`, without the end of line."""
    for queue in queues:
        for _, line in record.lines(queue.name, query.matching(queue, wanted)):
            yield line


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
    parts.append(Text(f"destination {figures['destination']}", style="bold"))
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
