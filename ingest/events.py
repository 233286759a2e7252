"""Single events: checked, completed, and timed by the clock of the server.

The stored event is the one that Segment would send to a destination. Sources of the rules, in segmentio/segment-docs:
limits and required fields: src/connections/sources/catalog/libraries/server/http-api/index.md; common fields and the
correction of times: src/connections/spec/common.md ("Timestamps").
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
# Times are corrected when the device's clock differs by more than this; a smaller difference is the request's duration.
MAX_CLOCK_DIFFERENCE_S: Final = 60.0

_TOO_DEEP = "the event is nested too deeply"


def completed(event: Any, common: Mapping[str, Any], received_at: datetime, *, correct_clock: bool) -> JsonObject:
    """Return a copy of the event that has `messageId`, `timestamp` and `receivedAt`, and no `writeKey`.

    `common` holds the members of a batch that apply to each of its events, see `shared`; an event's own `context` and
    `integrations` take precedence, member by member. With `correct_clock`, `sentAt` is compared with `received_at`.
    Raises Refusal (400) with the field.
    """
    if not isinstance(event, dict):
        raise Refusal(400, "the event must be a JSON object")
    _check_size(event)
    kind = event.get("type")
    if kind not in TYPES:
        raise _invalid("type", f"one of {', '.join(TYPES)}", kind)
    _check_identity(event, kind)
    _check_text(event, "messageId")
    if kind == "track" and not isinstance(event.get("event"), str):
        raise _invalid("event", "a string, the name of the event", event.get("event"))
    for name in ("context", "properties", "traits", "integrations"):
        if type(event.get(name)) is not dict and event.get(name):
            raise _invalid(name, "an object", event[name])
    merged = event.copy()
    merged.pop("writeKey", None)
    for name in ("context", "integrations"):
        if isinstance(common.get(name), dict):
            merged[name] = common[name] | (merged.get(name) or {})
    merged["messageId"] = merged.get("messageId") or f"segue-{uuid4()}"
    sent_at = merged.get("sentAt", common.get("sentAt"))
    merged["timestamp"] = _timestamp(merged, sent_at, received_at, correct_clock=correct_clock)
    merged["receivedAt"] = _iso(received_at)
    return merged


def shared(body: JsonObject) -> JsonObject:
    """Return the members of a batch that apply to each of its events: `{"sentAt"?, "context"?, "integrations"?}`.

    Raises Refusal (400) when they have more than MAX_EVENT_BYTES as JSON.
    """
    found: JsonObject = {name: body[name] for name in ("sentAt", "context", "integrations") if name in body}
    size = _size(found)
    if size > MAX_EVENT_BYTES:
        limit = f"at most {MAX_EVENT_BYTES:,} bytes with the integrations and sentAt of the batch"
        raise Refusal(400, f"context: must have {limit}, not {size:,}", "context")
    return found


def packed(source: str, event: JsonObject) -> bytes:
    """Return the event as it is stored in the queue; raise Refusal (400) when it is nested too deeply for JSON."""
    try:
        return pack(source, event)
    except (TypeError, RecursionError):
        raise Refusal(400, _TOO_DEEP) from None


def _check_size(event: JsonObject) -> None:
    size = _size(event)
    if size > MAX_EVENT_BYTES:
        raise Refusal(400, f"the event must have at most {MAX_EVENT_BYTES:,} bytes, not {size:,}")


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
            raise Refusal(400, "userId: is missing; a deletion request needs a userId", "userId")
    elif not (event.get("userId") or event.get("anonymousId")):
        raise Refusal(400, "userId: is missing; an event needs a userId or an anonymousId", "userId")
    if kind == "group" and not event.get("groupId"):
        raise Refusal(400, "groupId: is missing; a group call needs a groupId", "groupId")


def _check_text(event: JsonObject, name: str) -> None:
    value = event.get(name)
    if value is not None and type(value) not in (str, int, float):
        raise _invalid(name, "a string or a number", value)


def _timestamp(event: JsonObject, sent_at: Any, received_at: datetime, *, correct_clock: bool) -> str:
    """Return the time of the event by the server's clock, in ISO 8601.

    It is the event's own time, moved by the difference of the clocks when that is large enough; the time of receipt
    when the event has none. A time that is not ISO 8601 stays unchanged.
    """
    given = event.get("timestamp") or event.get("originalTimestamp")
    happened_at = _time(given)
    if happened_at is None:
        return given if isinstance(given, str) and given else _iso(received_at)
    sent = _time(sent_at) if correct_clock else None
    if sent is None or abs((received_at - sent).total_seconds()) <= MAX_CLOCK_DIFFERENCE_S:
        return str(given)
    try:
        return _iso(received_at - (sent - happened_at))
    except OverflowError:
        return str(given)


def _time(value: Any) -> datetime | None:
    if type(value) is not str:
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


@lru_cache(maxsize=16)  # all events of a request have the same time of receipt
def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _invalid(name: str, wanted: str, value: Any) -> Refusal:
    if value is None:
        return Refusal(400, f"{name}: is missing; must be {wanted}", name)
    text = repr(value)
    return Refusal(400, f"{name}: must be {wanted}, not {text if len(text) <= 40 else f'{text[:37]}...'}", name)
