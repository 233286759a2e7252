"""What `segue translate` prints: JSON lines of events in, the requests they come to out. Sends nothing, needs no Redis.

A line is `{"id", "event" or "events", "settings"?, "subscriptions"?, "mode"?}`, its answer `{"id", "requests",
"results"}` in the
form of tests/conformance/vectors/README.md; modes are "single" (the default), "batch", "delete" and "auth".
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

import mapping
from mapping.errors import Rejected
from mapping.reference_results import error_json

MODES = ("single", "batch", "delete", "auth")


def run(lines: Iterable[str], destination: mapping.Destination | None) -> Iterator[str]:
    """Yield one line for each that is not blank; a line that cannot be read yields `{"id"?, "error"}` naming its
    number.

    `destination` serves the lines without `subscriptions` of their own; without one these meet the fifteen presets.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield json.dumps(_answer(number, line, destination), ensure_ascii=False)


def _answer(number: int, line: str, destination: mapping.Destination | None) -> dict[str, Any]:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {"error": f"line {number}: is not JSON: {error}"}
    if not isinstance(given, dict):
        return {"error": f'line {number}: must be an object like {{"id": "1", "event": {{…}}}}'}
    named = {"id": given["id"]} if "id" in given else {}
    fault = _fault(given)
    if fault:
        return {**named, "error": f"line {number}: {fault}"}
    try:
        return {**named, **_ask(given, _destination(given, destination))}
    except Rejected as error:
        return {**named, "requests": [], "results": [], "settings_error": True, "error": error_json(error)}


def _fault(given: dict[str, Any]) -> str | None:
    mode = given.get("mode", "batch" if "events" in given else "single")
    if mode not in MODES:
        return f"mode: is {mode!r}, but must be one of {', '.join(MODES)}"
    if mode == "batch" and not isinstance(given.get("events"), list):
        return "events: must be a list of events"
    if mode in ("single", "delete") and not isinstance(given.get("event"), dict):
        return "event: must be an object, the event as Segment sends it"
    if not isinstance(given.get("subscriptions", []), list):
        return "subscriptions: must be a list"
    return None


def _destination(given: dict[str, Any], destination: mapping.Destination | None) -> mapping.Destination:
    if destination is not None and "subscriptions" not in given and "settings" not in given:
        return destination
    settings = given.get("settings", {"siteId": "site", "apiKey": "key"})
    named = mapping.destination_of(settings, given.get("subscriptions"))
    if destination is None or "subscriptions" in given:
        return named
    return destination.at(named.region)


def _ask(given: dict[str, Any], destination: mapping.Destination) -> dict[str, Any]:
    now_s = time.time()
    match given.get("mode", "batch" if "events" in given else "single"):
        case "batch":
            return mapping.batch_results(given["events"], destination, now_s)
        case "delete":
            return mapping.deletion_results(given["event"], destination)
        case "auth":
            return mapping.credentials_results(destination)
    return mapping.event_results(given["event"], destination, now_s)
