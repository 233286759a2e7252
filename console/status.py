"""`segue status`: the figures of every queue, every source, and the number of workers.

`gather` is the JSON contract of `segue status --json`; `render` is the screen for people.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

import lanes
import mapping
from console import output
from console.queues import draining
from console.session import Session
from console.state import available, configurations, deliveries, hot_lanes, ledgers, memory, shadow, trends
from dead_letters import retention
from delivery import overrides, unapplied, unsent
from ingest import counters
from ingest.access import sources, unauthorized
from ingest.reorder import lateness
from workers import heartbeat

_WAITING = ("ready", "delayed", "claimed", "blocked")  # the parts of `waiting`
_TOTALS = ("reordered_total", "unbounded_total", "delivered_total", "buried_total", "erased_total", "spilled_total")
_UNSENT = ("filtered", "unmatched", "dropped", "forgotten")  # fates of events that were not sent
_RESULTS = ("accepted", "duplicates", "suppressed", "rejected", "dropped")  # of the events of a source
_REMARKS = (  # on some of them, and what was refused for a reason of its own
    *("unlikely_ids", "unreadable_times", "future_times", "reordered", "too_late", "clock_off"),
    *("forbidden", "throttled"),
)


def gather(session: Session) -> dict[str, Any]:
    """Return `{"destinations": [...], "sources": [...], "unauthorized_total": n, "refusals": [...], "workers": n}` and
    the members of `gather` of `console.state.memory` and `configurations`; ages in seconds.

    `unavailable` is empty, or has what cannot be read while a node of a Redis Cluster is unavailable, as `Available`
    says: rows are absent then, and other members are null.
    """
    client, readable = session.client, available.Available(session.client)
    totals = readable.read("the sources", lambda: counters.totals(client))
    workers = readable.read("the workers", lambda: heartbeat.count(client))
    by_source = None if totals is None else _sources(totals, session.document)
    rows = [
        readable.read(f"destination {name}", partial(_row, session, name, workers, by_source))
        for name in session.destinations
    ]
    refusals = readable.read("the refusals", lambda: counters.refusals(client))
    stranded = readable.read("the queues without a destination", lambda: lanes.stranded(client, session.destinations))
    return {
        "destinations": [row for row in rows if row is not None],
        "sources": by_source or [],
        "unauthorized_total": None if totals is None else totals.get(unauthorized.NO_SOURCE, {}).get("unauthorized", 0),
        "refusals": [refused._asdict() for refused in refusals or ()],
        "stranded": [queue._asdict() for queue in stranded or ()],
        "workers": workers,
        **(readable.read("the memory of Redis", lambda: memory.gather(session)) or {"memory": None}),
        **(readable.read("the processes", lambda: configurations.gather(session)) or configurations.UNKNOWN),
        "unavailable": readable.unavailable,
    }


def render(status: dict[str, Any]) -> RenderableType:
    """Return the screen: a block for each destination, first its state, reason and alarms, then its figures."""
    warnings = [draining.warning(lanes.StrandedQueue(**row)) for row in status["stranded"]]
    warnings += available.lines(status["unavailable"])
    parts: list[RenderableType] = [Text(f"warning: {warning}", style="bold red") for warning in warnings]
    for row in status["destinations"]:
        parts += [*headings(row), _blocks(_first_block(row), _second_block(row)), *_notes(row), ""]
    for row in status["sources"]:
        results, remarks = (_source_block(row, names) for names in (_RESULTS, _REMARKS))
        heading = Text.assemble((f"source {row['name']}", "bold"), f": {row['trust'] or 'no trust set'}")
        parts += [heading, _blocks(results, remarks), *_late(row), ""]
    return Group(
        *parts,
        *map(_refusal, status["refusals"]),
        *_figure("unauthorized requests", status["unauthorized_total"]),
        *_figure("workers", status["workers"]),
        *(memory.lines(status["memory"]) if status["memory"] else ()),
        *configurations.lines(status),
    )


def _figure(name: str, number: int | None) -> Iterator[str]:
    """Yield the line of a figure, if it is known."""
    if number is not None:
        yield f"{name}: {number:,}"


def _refusal(refused: dict[str, Any]) -> str:
    source = f"source {refused['source']}" if refused["source"] else "no known source"
    return f"refused, {source}: {refused['number']:,} with {refused['status']} {refused['cause']}"


def headings(row: dict[str, Any]) -> Iterator[RenderableType]:
    """Yield the state of a destination with its reason, and what an operator should know of it."""
    state = row["state"]
    reason = f": {row['reason']}" if row["reason"] else ""
    if row["operator"]["pause"]:
        state, reason = "paused by an operator", ""
    style = "green" if state == "delivering" else "bold red"
    yield Text.assemble((f"destination {row['name']}", "bold"), ": ", (f"{state}{reason}", style))
    yield from map(_indented, _overrides(**row["operator"]))
    if row["sends"]:
        text = f"{row['sends']}; {output.counted(row['shadowed_total'], 'shadow event')} until now"
        yield _indented(Text(text, style="yellow"))
    if row["alarm"]:
        yield _indented(Text(f"alarm: {row['alarm']}", style="bold red"))
    if row["waiting"] + row["blocking"] >= row["queue_limit"]:
        full = f"the queue is full: {row['queue_limit']:,} events are unfinished; ingest answers 429"
        yield _indented(Text(full, style="bold red"))
    for line in deliveries.lines(row):
        yield _indented(Text(line, style="yellow"))
    for line in ledgers.lines(row["ledger"]):
        yield _indented(Text(line, style="yellow"))
    if row["now"]:
        yield _indented(trends.line(row["now"]))
    for lane in row["hot"]:
        yield _indented(Text(hot_lanes.line(lane), style="yellow"))


def _overrides(pause: dict[str, Any] | None, rate: dict[str, Any] | None) -> Iterator[Text]:
    """Yield what an operator has set, with its end."""
    if pause:
        yield Text(f"paused by {_set_by(pause)}: {pause['why']}", style="bold red")
    if rate:
        yield Text(f"at most {rate['requests_per_s']:,g} requests/s, set by {_set_by(rate)}", style="yellow")


def _set_by(override: dict[str, Any]) -> str:
    end = f" until {output.utc(override['until_ms'])}" if override["until_ms"] else ""
    return f"{override['by']} at {output.utc(override['since_ms'])}{end}"


def _first_block(row: dict[str, Any]) -> list[tuple[str, str]]:
    age = duration(row["oldest_age_s"]) if row["waiting"] else "–"
    return [
        ("waiting", f"{row['waiting']:,}"),
        ("oldest event", age),
        ("dead letters", f"{row['dead']:,}"),
        ("  blocking", f"{row['blocking']:,}"),
        ("delivered", f"{row['delivered_total']:,}"),
    ]


def _second_block(row: dict[str, Any]) -> list[tuple[str, str]]:
    totals = (("buried", f"{row['buried_total']:,}"), *((fate, f"{row[f'{fate}_total']:,}") for fate in _UNSENT))
    return [*((figure, f"{row[figure]:,}") for figure in _WAITING), *totals]


def _notes(row: dict[str, Any]) -> Iterator[RenderableType]:
    for reason, count in row["unapplied"].items():
        text = unapplied.REASONS.get(reason, reason)
        yield _indented(Text(f"accepted, but will not be applied: {output.counted(count, 'operation')}, {text}"))
    if row["unbounded_total"]:
        yield _indented(Text(f"keys that made others wait too long, and do not any more: {row['unbounded_total']:,}"))
    for fate in row["fates"]:
        if fate["fate"] in _UNSENT and fate["reason"]:
            text = f"{fate['fate']}, source {fate['source']}: {fate['events']:,} events, {fate['reason']}"
            yield _indented(Text(text, style="dim"))
    for subscription, count in row["not_applicable"].items():
        yield _indented(Text(f'not applicable: {count:,} events for "{subscription}"', style="dim"))


def _source_block(row: dict[str, Any], names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), f"{row[f'{name}_total']:,}") for name in names]


def _late(row: dict[str, Any]) -> Iterator[RenderableType]:
    """Yield how late events came after later ones of the same person, if any did."""
    if any(row["late"].values()):
        counts = [f"{name.replace('_', ' ')} ms: {count:,}" for name, count in row["late"].items() if count]
        yield _indented(Text(f"late after a later event, up to {', '.join(counts)}"))


def _blocks(*blocks: list[tuple[str, str]]) -> RenderableType:
    """Place the blocks side by side where the width allows it, else below each other."""
    return _indented(Columns(map(output.figures, blocks), padding=(0, 4)))


def _indented(part: RenderableType) -> RenderableType:
    return Padding(part, (0, 0, 0, 2))


def duration(seconds: float) -> str:
    """Return a duration in the largest unit of which there are two: `119 s`, `2 min`, `47 h`, `2 d`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s"


def _row(session: Session, name: str, workers: int | None, by_source: list[dict[str, Any]] | None) -> dict[str, Any]:
    return _destination(session.queue(name), session.destinations[name], workers) | _too_late(name, by_source)


def _destination(queue: lanes.Queue, destination: mapping.Destination, workers: int | None) -> dict[str, Any]:
    delivery = destination.delivery
    stats, counts = lanes.stats(queue), lanes.fate_totals(queue)
    return {
        "name": queue.name,
        **{figure: getattr(stats, figure) for figure in ("waiting", *_WAITING, "dead", "blocking", *_TOTALS)},
        **{
            f"{fate}_total": sum(each.events for each in counts if each.fate == fate) for fate in (*_UNSENT, "shadowed")
        },
        "fates": [each._asdict() for each in counts if each.fate != "accepted"],
        "not_applicable": unsent.totals(queue),
        "oldest_age_s": stats.oldest_age_s,
        "sends": shadow.describe(destination),
        "queue_limit": queue.limit,
        "unapplied": unapplied.totals(queue),
        "alarm": retention.exceeded(queue, delivery, int(time.time() * 1000)),
        "hot": hot_lanes.gather(queue, destination, stats.hot),
        **deliveries.gather(queue, delivery, workers),
        **ledgers.gather(queue),
        "operator": _operator(queue),
        "now": trends.gather(queue),
    }


def _operator(queue: lanes.Queue) -> dict[str, Any]:
    """Return `{"pause", "rate"}` as `segue pause` and `segue rate` have set them, null without one."""
    found = overrides.read(queue)
    return {"pause": found.pause and found.pause.json(), "rate": found.rate and found.rate.json()}


def _too_late(destination: str, by_source: list[dict[str, Any]] | None) -> dict[str, int | None]:
    """Return how many events of the destination's sources were received after the wait of a later event."""
    if by_source is None:
        return {"too_late_total": None}
    feeding = [row for row in by_source if destination in row["destinations"]]
    return {"too_late_total": sum(row["too_late_total"] for row in feeding)}


def _sources(totals: dict[str, dict[str, int]], document: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": source.name,
            "trust": source.trust,
            "destinations": source.destinations,
            "late": {name: totals.get(source.name, {}).get(f"late_{name}", 0) for name in lateness.BUCKETS},
            **{f"{figure}_total": totals.get(source.name, {}).get(figure, 0) for figure in (*_RESULTS, *_REMARKS)},
        }
        for source in sources.sources(document)
    ]
