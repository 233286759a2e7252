"""`segue translate`: JSON lines of events in, JSON lines of their requests out. Needs no Redis and no network.

An input line is `{"id", "event" or "events", "settings"?, "subscriptions"?, "mode"?}`; modes are "single" (the
default), "batch", "delete" and "auth". An output line is `{"id", "requests", "results"}` in the form that
tests/conformance/README.md describes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import mapping
from mapping.errors import Rejected
from mapping.reference_results import error_json

_BYTE_ORDER_MARK = "\ufeff"
MODES = ("single", "batch", "delete", "auth")


def run(lines: Iterable[str], destination: mapping.Destination | None) -> Iterator[str]:
    """Yield one output line for each input line that is not blank; `{"id"?, "error"}` with the line's number for an
    invalid one.

    `destination` is used for lines without `subscriptions`. When it is None, these use the presets.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield json.dumps(_result(number, line, destination), ensure_ascii=False)


def _result(number: int, line: str, destination: mapping.Destination | None) -> dict[str, Any]:
    try:
        request = json.loads(line.removeprefix(_BYTE_ORDER_MARK))
    except (ValueError, RecursionError) as error:
        return {"error": f"line {number}: is not JSON: {error}"}
    if not isinstance(request, dict):
        return {"error": f'line {number}: must be an object like {{"id": "1", "event": {{…}}}}'}
    line_id = {"id": request["id"]} if "id" in request else {}
    fault = _fault(request)
    if fault:
        return {**line_id, "error": f"line {number}: {fault}"}
    try:
        return {**line_id, **_translated(request, _destination(request, destination))}
    except Rejected as error:
        return {**line_id, "requests": [], "results": [], "settings_error": True, "error": error_json(error)}


def _mode(request: dict[str, Any]) -> Any:
    return request.get("mode", "batch" if "events" in request else "single")


def _fault(request: dict[str, Any]) -> str | None:
    mode = _mode(request)
    if mode not in MODES:
        return f"mode: is {mode!r}, but must be one of {', '.join(MODES)}"
    if mode == "batch" and not isinstance(request.get("events"), list):
        return "events: must be a list of events"
    if mode in ("single", "delete") and not isinstance(request.get("event"), dict):
        return "event: must be an object, the event as Segment sends it"
    if not isinstance(request.get("subscriptions", []), list):
        return "subscriptions: must be a list"
    return None


def _destination(request: dict[str, Any], destination: mapping.Destination | None) -> mapping.Destination:
    if destination is not None and "subscriptions" not in request and "settings" not in request:
        return destination
    settings = request.get("settings", {"siteId": "site", "apiKey": "key"})
    requested = mapping.destination_of(settings, request.get("subscriptions"))
    if destination is None or "subscriptions" in request:
        return requested
    return destination.at(requested.region)


def _translated(request: dict[str, Any], destination: mapping.Destination) -> Mapping[str, object]:
    now_s = time.time()
    match _mode(request):
        case "batch":
            return mapping.batch_results(request["events"], destination, now_s)
        case "delete":
            return mapping.deletion_results(request["event"], destination)
        case "auth":
            return mapping.credentials_results(destination)
    return mapping.event_results(request["event"], destination, now_s)
