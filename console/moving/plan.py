"""`segue cutover plan`: the steps of the change from the old destination to Segue at a moment."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import mapping
from console.errors import CommandError
from console.moving.old_filter import drop_if
from console.state.shadow import moment
from mapping.cutover import Cutover

_SOON_MS = 10 * 60_000
_RETRIES_H = 4  # for how long Segment repeats a request that failed


def gather(destination: mapping.Destination, configurations: dict[str, Any], now_ms: int) -> dict[str, Any]:
    """Return the plan as JSON: `{"destination", "cutover_at", "cutover_until", "cutover_by", "drop_if", "warnings"}`.

    Times are Unix milliseconds. `configurations`: of `console.state.configurations.gather`. Raises CommandError: the
    destination has no moment.
    """
    cutover = destination.cutover
    if cutover is None or not cutover.sends:
        raise CommandError(
            f"destinations.{destination.name}.cutover_at: is missing; set the moment, such as "
            "cutover_at = 2026-12-01T10:00:00Z, in place of mode"
        )
    return {
        "destination": destination.name,
        "cutover_at": int(cutover.at_ms),
        "cutover_until": int(cutover.until_ms) if math.isfinite(cutover.until_ms) else None,
        "cutover_by": cutover.by,
        "drop_if": drop_if(cutover),
        "warnings": list(_warnings(cutover, configurations, now_ms)),
    }


def _warnings(cutover: Cutover, configurations: dict[str, Any], now_ms: int) -> Iterator[str]:
    own = configurations["configuration"]
    others = [process["name"] for process in configurations["processes"] if process["configuration"] != own]
    if not configurations["processes"]:
        yield "no worker and no ingest runs"
    if others:
        yield f"other configurations are in use, so these may decide otherwise: {', '.join(others)}; run `segue reload`"
    has_begun = cutover.at_ms < now_ms and math.isfinite(cutover.until_ms)
    next_ms = cutover.until_ms if has_begun else cutover.at_ms
    if next_ms < now_ms:
        yield "the moment is past: an event that was handled before this file was loaded was decided without it"
    elif next_ms < now_ms + _SOON_MS:
        yield "the moment is less than ten minutes away: the filter must be active, and this file loaded, before it"
    if cutover.by == "originalTimestamp":
        yield (
            "the filter compares originalTimestamp as a text: it is right for times in UTC that end in Z, which "
            "Segment's libraries write, and wrong for other zones"
        )
        yield (
            "an event without an originalTimestamp is decided by the time at which Segue accepted it, and the filter "
            "never drops it: from the moment on it would arrive twice"
        )


def lines(plan: dict[str, Any]) -> Iterator[str]:
    """Yield the plan for people."""
    name, by, at = plan["destination"], plan["cutover_by"], moment(plan["cutover_at"])
    yield f"{name} sends the events whose {by} is {at} or later; earlier ones are shadow events, whenever they come"
    if plan["cutover_until"] is not None:
        yield f"from {moment(plan['cutover_until'])} on, events are shadow events again"
    yield from (f"warning: {warning}" for warning in plan["warnings"])
    yield ""
    for number, (first, *others) in enumerate(_steps(plan), start=1):
        yield f"{number}. {first}"
        yield from (f"   {other}" for other in others)
    if plan["cutover_until"] is None:
        yield "To go back: set cutover_until to a later moment, reload, run this command again, and replace the filter."


def _steps(plan: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the lines of each step. With the end of the time at which events are sent, the old destination stays."""
    name, by, until_ms = plan["destination"], plan["cutover_by"], plan["cutover_until"]
    next_moment = moment(plan["cutover_at"] if until_ms is None else until_ms)
    if until_ms is None:
        yield [
            f"Before {next_moment}: compare what would be sent with what is sent. Nothing may be refused or differ:",
            f"  segue shadow report --destination {name}",
        ]
    what = "Add a filter to" if until_ms is None else "Replace the filter of"
    yield [
        f"{what} the old destination, so that it drops the events that Segue will send, by Segment's Public API",
        '("Create Filter for Destination"): actions [{"type": "DROP"}], enabled true, and this as if:',
        f"  {plan['drop_if']}",
        f"Preview it with an event of before the moment and one of after. If it does not know {by}, it drops none.",
    ]
    yield ["Load this configuration in every process, before the moment:", "  segue reload"]
    yield [f"At {next_moment}: do nothing. Each event is decided by its {by}: late and repeated events, too."]
    yield [
        f"{_RETRIES_H} hours later, when the last retries are over, check the accounts:",
        "  segue audit",
        f"  segue shadow report --destination {name}",
    ]
    if until_ms is None:
        yield ["Disable the old destination. Leave cutover_at in the file: without it, an earlier event would be sent."]
    else:
        yield ["Keep the old destination: it gets the events from then on. Leave both moments in the file."]
