"""The sentence: is it well, and if not, why, and what helps. The causes come in the order in which they matter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from console import status
from console.output import counted, utc
from console.state import ledgers
from console.web.visit import address

Level = Literal["bad", "warn", "good"]

_NEARLY_FULL: Final = 0.8  # of a limit
_ALONE: Final = 0.5  # of what waits
_LEAST_HOT: Final = 1000


@dataclass(frozen=True, slots=True)
class Cause:
    """What is not well, or that all is. `command` or the page `href` helps."""

    level: Level
    text: str
    remedy: str = ""
    command: str = ""
    href: str = ""
    destination: str = ""

    def json(self) -> dict[str, Any]:
        """Return the members as JSON."""
        return asdict(self)


def causes(figures: dict[str, Any], findings: list[str]) -> list[Cause]:
    """Return what is not well, what matters most first; one cause that says that all is well, when it is.

    `figures` are those of `console.status.gather`, `findings` what makes Redis unsafe.
    """
    rows = figures["destinations"]
    found = [*_workers(figures), *(_unsafe(finding) for finding in findings), *_memory(figures["memory"])]
    found += map(_stranded, figures["stranded"])
    for kind in (_paused, _refused, _unavailable, _full, _throttled, _slower, _hot, _blocked, _dead_letters, _ledger):
        found += [cause for row in rows for cause in kind(row)]
    found += _configurations(figures)
    return found or [_well(rows)]


def _workers(figures: dict[str, Any]) -> Iterator[Cause]:
    if not figures["workers"]:
        yield Cause("bad", "No worker is running, so nothing is sent.", "Start one:", command="segue worker")


def _unsafe(finding: str) -> Cause:
    return Cause("bad", f"Redis is not safe: {finding}.", "See its settings", href="/about")


def _memory(memory: dict[str, Any]) -> Iterator[Cause]:
    limit = memory["refused_from"]
    if limit and memory["used"] > _NEARLY_FULL * limit:
        share = f"{memory['used'] / limit:.0%}"
        yield Cause("bad", f"Redis uses {share} of the memory from which events are refused.", "See it", href="/about")


def _stranded(queue: dict[str, Any]) -> Cause:
    numbers = f"{counted(queue['waiting'], 'event')} and {counted(queue['dead'], 'dead letter')}"
    text = f"Nothing delivers the {numbers} of {queue['name']}, which is not configured any more."
    return Cause("bad", text, "Move them to a destination:", command=f"segue lanes move {queue['name']} DESTINATION")


def _paused(row: dict[str, Any]) -> Iterator[Cause]:
    pause = row["operator"]["pause"]
    if pause:
        end = f" until {utc(pause['until_ms'])}" if pause["until_ms"] else ""
        text = f"{row['name']} is paused by {pause['by']} since {utc(pause['since_ms'])}{end}: {pause['why']}"
        yield _of(row, "warn", text, "Resume it")


def _refused(row: dict[str, Any]) -> Iterator[Cause]:
    if row["paused"]:
        text = f"{row['name']} sends nothing: {row['reason']}."
        yield _of(row, "bad", text, f"Correct the credentials or the address; {_probe(row)}. See it")


def _unavailable(row: dict[str, Any]) -> Iterator[Cause]:
    if row["breaker"] == "open" and not row["paused"]:
        yield _of(
            row, "bad", f"Customer.io is unavailable for {row['name']}: {row['reason']}; {_probe(row)}.", "See it"
        )
    elif row["state"] == "waiting":
        yield _of(row, "warn", f"Customer.io asked {row['name']} to wait: {row['reason']}.", "See it")


def _full(row: dict[str, Any]) -> Iterator[Cause]:
    unfinished = row["waiting"] + row["blocking"]
    if unfinished >= row["queue_limit"]:
        yield _of(row, "bad", f"The queue of {row['name']} is full: ingest answers 429.", "See it")
    elif unfinished > _NEARLY_FULL * row["queue_limit"]:
        yield _of(row, "warn", f"The queue of {row['name']} is {unfinished / row['queue_limit']:.0%} full.", "See it")


def _throttled(row: dict[str, Any]) -> Iterator[Cause]:
    if row["throttled_total"] and row["requests_per_s"] < row["limit_per_s"] and not row["operator"]["rate"]:
        rate = f"{row['requests_per_s']:g} of {row['limit_per_s']:,} requests/s"
        yield _of(row, "warn", f"Customer.io throttles {row['name']}: {rate}.", "See it")


def _slower(row: dict[str, Any]) -> Iterator[Cause]:
    rate = row["operator"]["rate"]
    if rate and rate["requests_per_s"] < row["limit_per_s"]:
        text = f"{row['name']} sends at most {rate['requests_per_s']:g} requests/s, set by {rate['by']}."
        yield _of(row, "warn", text, "Change it")


def _hot(row: dict[str, Any]) -> Iterator[Cause]:
    for lane in row["hot"][:1]:
        if lane["length"] >= max(_LEAST_HOT, _ALONE * row["waiting"]):
            text = f"One ordering key has {lane['length']:,} of {row['waiting']:,} events that wait for {row['name']}."
            href = address(f"/people/{lane['digest']}", destination=row["name"])
            yield Cause("warn", text, "See why they wait", href=href, destination=row["name"])


def _blocked(row: dict[str, Any]) -> Iterator[Cause]:
    if row["blocking"]:
        verb = "blocks" if row["blocking"] == 1 else "block"
        text = f"{counted(row['blocking'], 'dead letter')} of {row['name']} {verb} later events of the same people."
        yield Cause("warn", text, "See them", href=address("/dead", destination=row["name"]), destination=row["name"])


def _dead_letters(row: dict[str, Any]) -> Iterator[Cause]:
    if row["alarm"]:
        href = address("/dead", destination=row["name"])
        yield Cause("warn", f"{row['name']}: {row['alarm']}.", "See them", href=href, destination=row["name"])


def _ledger(row: dict[str, Any]) -> Iterator[Cause]:
    for line in ledgers.lines(row["ledger"]):
        yield Cause("warn", f"{row['name']}: {line}.", "Run it:", command="segue ledger")


def _configurations(figures: dict[str, Any]) -> Iterator[Cause]:
    used = {process["configuration"] for process in figures["processes"]} | {figures["configuration"]}
    if len(used) > 1:
        text = f"The processes use {len(used)} different configurations."
        yield Cause("warn", text, "Have all of them load the file:", command="segue reload")
    if figures["configuration_fault"]:
        text = f"The configuration file has a fault, and no process can load it: {figures['configuration_fault']}"
        yield Cause("warn", text, "Correct it, and check it:", command="segue check")
    for process in figures["processes"]:
        if process["fault"]:
            yield Cause(
                "warn", f"{process['name']} refused the configuration: {process['fault']}", "See it", href="/about"
            )


def _well(rows: list[dict[str, Any]]) -> Cause:
    waiting = sum(row["waiting"] for row in rows)
    known = [row["now"]["per_s"]["sent"] for row in rows if row["now"]]
    pace = f"{sum(known):,.0f} events/s; " if known else ""
    if not waiting:
        return Cause("good", f"All is well: {pace}no event waits.")
    oldest = status.duration(max(row["oldest_age_s"] for row in rows))
    return Cause("good", f"All is well: {pace}{counted(waiting, 'event')} waiting, the oldest for {oldest}.")


def _of(row: dict[str, Any], level: Level, text: str, remedy: str) -> Cause:
    return Cause(level, text, remedy, href=f"/destinations/{row['name']}", destination=row["name"])


def _probe(row: dict[str, Any]) -> str:
    return f"the next probe is in {row['probe_in_s'] or 0:.0f} s"
