"""One event of history: checked as ingest checks it, and completed so that sending it again is harmless.

An event without a `messageId` gets one that follows from its content, its file and its position there. An event
without a time, or with one in the future, happened when its file was written.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from console.send.inputs import Input
from ingest import bodies, events
from ingest.errors import Refusal
from ingest.events import MAX_EVENT_BYTES, Reception
from ingest.times import iso

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Checked(NamedTuple):
    """An event that can be sent."""

    happened_ms: int  # Unix milliseconds
    body: bytes  # JSON
    type: str
    is_timed: bool  # False: it has no time of its own, or one in the future
    has_unlikely_id: bool


def parsed(text: bytes) -> Any:
    """Return the value of the JSON of one event, as ingest reads it. Raises Refusal."""
    try:
        return bodies.parsed(text)
    except Refusal as refusal:
        if not _is_utf8(text):
            raise Refusal(400, "the record is not UTF-8") from None
        raise Refusal(refusal.status, refusal.message.replace("the body", "the record"), refusal.field) from None


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def checked(event: Any, file: Input, number: int, now: datetime) -> Checked:
    """Return the event as it is sent. `number` is its position in the file. Raises Refusal: ingest would refuse it."""
    if isinstance(event, dict):
        event = dict(event)
        event["messageId"] = event.get("messageId") or _message_id(event, file, number)
    reception = Reception(now, "import")
    completed, happened_at, remarks = events.completed(event, reception)
    is_timed = happened_at is not now
    if not is_timed:
        happened_at = min(_EPOCH + file.modified_ms * _MILLISECOND, now)
        event["timestamp"] = iso(happened_at)
    body = _encoded(event)
    if len(body) > MAX_EVENT_BYTES:
        events.as_stored("", completed, event)
    happened_ms = (happened_at - _EPOCH) // _MILLISECOND
    return Checked(happened_ms, body, event["type"], is_timed, "unlikely_ids" in remarks)


def _message_id(event: Any, file: Input, number: int) -> str:
    hashed = blake2b(f"{file.name}\0{number}\0".encode(), digest_size=16)
    hashed.update(_encoded(event))
    return f"segue-history-{hashed.hexdigest()}"


def _encoded(event: Any) -> bytes:
    try:
        return orjson.dumps(event)
    except TypeError:  # a member `batch` has a part that is not JSON, or is nested too deeply for it
        raise Refusal(400, "the event is not JSON, or is nested too deeply") from None
