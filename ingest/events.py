"""Events as they come: checked, completed and timed, so that what rests on the queue is what Segment would hand on.

Source of the rules: Segment's HTTP Tracking API (limits, common fields, the correction of a device's clock).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from uuid import uuid4

import orjson

from ingest.errors import Refusal
from mapping import DELETION
from mapping.envelope import JsonObject, pack

MAX_EVENT_BYTES: Final = 32 * 1024
MAX_BATCH_EVENTS: Final = 2500
TYPES: Final = ("identify", "track", "page", "screen", "group", "alias", DELETION)
# A device's clock is corrected when it is off by more than this: less is the time the call took.
CLOCK_IS_OFF_S: Final = 60.0

_TOO_DEEP = "the event cannot be written as JSON again: it is nested too deeply"


def completed(event: Any, common: Mapping[str, Any], received_at: datetime, *, correct_clock: bool) -> JsonObject:
    """Return the event with what every event has: `messageId`, `timestamp` and `receivedAt`.

    `common` are the members of its batch that count for every event, see `shared`.
    Raises Refusal naming the field.
    """
    if not isinstance(event, dict):
        raise Refusal(400, "an event must be a JSON object")
    _check_size(event)
    kind = event.get("type")
    if kind not in TYPES:
        raise Refusal(400, f"type: is {_shown(kind)}, but must be one of {', '.join(TYPES)}", "type")
    _check_identity(event, kind)
    _check_text(event, "messageId")
    if kind == "track" and not isinstance(event.get("event"), str):
        raise Refusal(400, "event: a track call needs the name of the event, a text", "event")
    for name in ("context", "properties", "traits", "integrations"):
        if type(event.get(name)) is not dict and event.get(name):
            raise Refusal(400, f"{name}: must be an object", name)
    merged = event.copy()
    merged.pop("writeKey", None)
    for name in ("context", "integrations"):
        if isinstance(common.get(name), dict):
            merged[name] = common[name] | (merged.get(name) or {})
    merged["messageId"] = merged.get("messageId") or f"segue-{uuid4()}"
    sent_at = merged.get("sentAt", common.get("sentAt"))
    merged["timestamp"] = _timestamp(merged, sent_at, received_at, correct_clock=correct_clock)
    merged["receivedAt"] = _written(received_at)
    return merged


def shared(body: JsonObject) -> JsonObject:
    """Return the members of a batch that count for each of its events; raise Refusal when they are too much."""
    found: JsonObject = {name: body[name] for name in ("sentAt", "context", "integrations") if name in body}
    if _size(found) > MAX_EVENT_BYTES:
        raise Refusal(400, f"context: what counts for every event must not exceed {MAX_EVENT_BYTES:,} bytes", "context")
    return found


def packed(source: str, event: JsonObject) -> bytes:
    """Return the event as it rests on the queue; raise Refusal when it cannot be written."""
    try:
        return pack(source, event)
    except (TypeError, RecursionError):
        raise Refusal(400, _TOO_DEEP) from None


def _check_size(event: JsonObject) -> None:
    size = _size(event)
    if size > MAX_EVENT_BYTES:
        raise Refusal(400, f"the event has {size:,} bytes, but must not have more than {MAX_EVENT_BYTES:,}")


def _size(value: JsonObject) -> int:
    try:
        return len(orjson.dumps(value))
    except (TypeError, RecursionError):
        raise Refusal(400, _TOO_DEEP) from None


def _check_identity(event: JsonObject, kind: str) -> None:
    for name in ("userId", "anonymousId", "previousId"):
        _check_text(event, name)
    if kind == "alias":
        for name in ("userId", "previousId"):
            if not event.get(name):
                raise Refusal(400, f"{name}: is missing; an alias needs both userId and previousId", name)
    elif kind == DELETION:
        if not event.get("userId"):
            raise Refusal(400, "userId: is missing; a deletion needs it", "userId")
    elif not (event.get("userId") or event.get("anonymousId")):
        raise Refusal(400, "userId: is missing; an event needs a userId or an anonymousId", "userId")
    if kind == "group" and not event.get("groupId"):
        raise Refusal(400, "groupId: is missing; a group call needs it", "groupId")


def _check_text(event: JsonObject, name: str) -> None:
    value = event.get(name)
    if value is not None and type(value) not in (str, int, float):
        raise Refusal(400, f"{name}: must be a text, not {_shown(value)}", name)


def _timestamp(event: JsonObject, sent_at: Any, received_at: datetime, *, correct_clock: bool) -> str:
    """Return when it happened by our clock: as told, moved by how far the device's clock is off; else now."""
    told = event.get("timestamp") or event.get("originalTimestamp")
    happened_at = _read(told)
    if happened_at is None:
        return told if isinstance(told, str) and told else _written(received_at)
    sent = _read(sent_at) if correct_clock else None
    if sent is None or abs((received_at - sent).total_seconds()) <= CLOCK_IS_OFF_S:
        return str(told)
    try:
        return _written(received_at - (sent - happened_at))
    except OverflowError:
        return str(told)


def _read(value: Any) -> datetime | None:
    if type(value) is not str:
        return None
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


@lru_cache(maxsize=16)  # all events of a request were received at once
def _written(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(value: Any) -> str:
    text = repr(value) if value is not None else "missing"
    return text if len(text) <= 40 else f"{text[:37]}..."
