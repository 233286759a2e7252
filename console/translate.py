"""`segue translate`: JSON lines of events to JSON lines of requests. Sends nothing and needs no Redis.

A line of input is `{"id", "event" or "events", "settings"?, "subscriptions"?, "mode"?}`; the modes are "single" (the
default), "batch", "delete" and "auth". A line of output is `{"id", "requests", "results"}` in the form of
tests/conformance/README.md.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import mapping
from mapping.errors import Rejected
from mapping.reference_results import error_json

MODES = ("single", "batch", "delete", "auth")


def run(lines: Iterable[str], destination: mapping.Destination | None) -> Iterator[str]:
    """Yield a line for each line that is not blank; `{"id"?, "error"}` with the line number for an invalid one.

    Lines without `subscriptions` use `destination`; without a destination they use the presets.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield json.dumps(_translated(number, line, destination), ensure_ascii=False)


def _translated(number: int, line: str, destination: mapping.Destination | None) -> dict[str, Any]:
    try:
        case = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {"error": f"line {number}: is not JSON: {error}"}
    if not isinstance(case, dict):
        return {"error": f'line {number}: must be an object like {{"id": "1", "event": {{…}}}}'}
    named = {"id": case["id"]} if "id" in case else {}
    fault = _fault(case)
    if fault:
        return {**named, "error": f"line {number}: {fault}"}
    try:
        return {**named, **_results(case, _destination(case, destination))}
    except Rejected as error:
        return {**named, "requests": [], "results": [], "settings_error": True, "error": error_json(error)}


def _fault(case: dict[str, Any]) -> str | None:
    mode = case.get("mode", "batch" if "events" in case else "single")
    if mode not in MODES:
        return f"mode: is {mode!r}, but must be one of {', '.join(MODES)}"
    if mode == "batch" and not isinstance(case.get("events"), list):
        return "events: must be a list of events"
    if mode in ("single", "delete") and not isinstance(case.get("event"), dict):
        return "event: must be an object, the event as Segment sends it"
    if not isinstance(case.get("subscriptions", []), list):
        return "subscriptions: must be a list"
    return None


def _destination(case: dict[str, Any], destination: mapping.Destination | None) -> mapping.Destination:
    if destination is not None and "subscriptions" not in case and "settings" not in case:
        return destination
    settings = case.get("settings", {"siteId": "site", "apiKey": "key"})
    named = mapping.destination_of(settings, case.get("subscriptions"))
    if destination is None or "subscriptions" in case:
        return named
    return destination.at(named.region)


def _results(case: dict[str, Any], destination: mapping.Destination) -> Mapping[str, object]:
    now_s = time.time()
    match case.get("mode", "batch" if "events" in case else "single"):
        case "batch":
            return mapping.batch_results(case["events"], destination, now_s)
        case "delete":
            return mapping.deletion_results(case["event"], destination)
        case "auth":
            return mapping.credentials_results(destination)
    return mapping.event_results(case["event"], destination, now_s)
