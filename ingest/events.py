"""Single events: checked, completed, and timed by the clock of the server.

The stored event is the one that Segment would send to a destination. Sources of the rules, in segmentio/segment-docs:
limits and required fields: src/connections/sources/catalog/libraries/server/http-api/index.md; common fields:
src/connections/spec/common.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal
from uuid import uuid4

import orjson

from ingest import identities
from ingest.addresses import with_ip
from ingest.device_clocks import DeviceClocks, corrected, is_future, is_of_one_clock
from ingest.errors import Refusal, invalid
from ingest.times import canonical, instant, iso
from mapping import DELETION
from mapping.envelope import (
    JsonObject,
    as_json,
    has_many_brackets,
    has_more_levels,
    may_have_more_levels,
)

MAX_EVENT_BYTES: Final = 32 * 1024
MAX_BATCH_EVENTS: Final = 2500
# Of the members of a batch that apply to every event, in all of its events. A body has at most 512,000 bytes.
MAX_SHARED_BYTES: Final = 2_000_000
# Levels of an event, itself included; less than SAFE_LEVELS, as events become parts of other values.
MAX_LEVELS: Final = 64
# The types of events, and the member that the presets read as an object. The shape of other members refuses no event.
_CONTENT: Final = {
    "identify": "traits",
    **dict.fromkeys(("track", "page", "screen"), "properties"),
    "group": "traits",
    **dict.fromkeys(("alias", DELETION)),
}
_FEW_EVENTS = 6

# What is counted of an accepted event: an id that many people may share, a time that is none, a time after the receipt.
Remark = Literal["unlikely_ids", "unreadable_times", "future_times"]

Origin = Literal["call", "import", "webhook"]


@dataclass(frozen=True, slots=True)
class Reception:
    """How a request arrived: what applies to each of its events.

    `origin` is "import" for history, whose events keep their times; the events of "webhook" went through Segment.
    `common` holds the members of a batch that apply to its events, see `shared`, and `sent_at` is its `sentAt`. `ip` is
    the address of the client, empty when it is not to be stored.
    """

    received_at: datetime  # in UTC
    origin: Origin = "call"
    common: JsonObject = field(default_factory=dict)
    sent_at: datetime | None = None
    ip: str = ""
    clocks: DeviceClocks = field(default_factory=DeviceClocks)  # of the source
    may_be_deep: bool = True  # False: no event of the request has more than MAX_LEVELS levels
    is_signed: bool = True  # false: it is an element of a webhook's array, and the signature does not cover it
    received: str = field(init=False)  # `received_at` as it is stored

    def __post_init__(self) -> None:
        """Write the time once for all events."""
        object.__setattr__(self, "received", iso(self.received_at))


# An event as it is stored, when it happened (its `timestamp`), and what is counted of it.
Completed = tuple[JsonObject, datetime, tuple[Remark, ...]]


def completed(event: Any, reception: Reception) -> Completed:
    """Return a copy of the event with `messageId`, `timestamp`, `originalTimestamp`, `receivedAt`, without `writeKey`.

    An event's own `context` and `integrations` take precedence over those of its batch, member by member. Raises
    Refusal (400) with the field.
    """
    if not isinstance(event, dict):
        raise Refusal(400, "the event must be a JSON object")
    kind = event.get("type")
    if type(kind) is not str or kind not in _CONTENT:
        raise invalid("type", f"one of {', '.join(_CONTENT)}", kind)
    if reception.may_be_deep:
        _check_levels(event)
    if kind == "track" and not isinstance(event.get("event"), str):
        raise invalid("event", "a string, the name of the event", event.get("event"))
    merged = event.copy()
    merged.pop("writeKey", None)
    may_be_unlikely = identities.check(merged, kind)
    if not merged.get("messageId"):
        merged["messageId"] = f"segue-{uuid4()}"
    has_passed = "receivedAt" in event and _has_received_at(merged)
    if not has_passed:
        merged["receivedAt"] = reception.received
    _set_context(merged, reception, "" if has_passed else reception.ip)
    _set_content(merged, kind)
    identities.keep_digits(merged, kind)
    happened_at, remark = _set_timestamp(merged, reception, has_passed=has_passed)
    if may_be_unlikely and identities.unlikely(merged):
        return merged, happened_at, ("unlikely_ids", remark) if remark else ("unlikely_ids",)
    return merged, happened_at, (remark,) if remark else ()


def shared(body: JsonObject, events: int) -> JsonObject:
    """Return the members of a batch that apply to each of its events: `{"sentAt"?, "context"?, "integrations"?}`.

    Raises Refusal: 400 when they have more than MAX_EVENT_BYTES as JSON, or are nested too deeply for an event. The
    status is 413 when they have more than MAX_SHARED_BYTES in so many events.
    """
    found: JsonObject = {name: body[name] for name in ("sentAt", "context", "integrations") if name in body}
    _check_levels(found)
    size = len(orjson.dumps(found))
    if size > MAX_EVENT_BYTES:
        limit = f"at most {MAX_EVENT_BYTES:,} bytes with the integrations and sentAt of the batch"
        raise Refusal(400, f"context: must have {limit}, not {size:,}", "context")
    if found and size * events > MAX_SHARED_BYTES:
        limit = f"at most {MAX_SHARED_BYTES:,} bytes in its {events:,} events, not {size:,} in each"
        raise Refusal(413, f"context: of the batch must have {limit}; send smaller batches", "context")
    return found


def as_stored(source: str, event: JsonObject, received: JsonObject) -> bytes:
    """Return the completed event as the JSON that is stored, compressed, in the queue.

    Raises Refusal (400) when it has more than MAX_EVENT_BYTES as it was received.
    """
    stored = as_json(source, event)
    if len(stored) > MAX_EVENT_BYTES and (size := len(orjson.dumps(received))) > MAX_EVENT_BYTES:
        raise Refusal(400, f"the event must have at most {MAX_EVENT_BYTES:,} bytes, not {size:,}")
    return stored


def may_be_deep(body: bytes, events: Sequence[Any]) -> bool:
    """Whether an event of a request may have more than MAX_LEVELS levels. `events` are those that `body` was parsed to.

    A few events have too few brackets for that: most events have ten.
    """
    if len(events) <= _FEW_EVENTS and not has_many_brackets(body, MAX_LEVELS):
        return False
    return may_have_more_levels([event for event in events if type(event) is dict], MAX_LEVELS)


def _check_levels(value: JsonObject) -> None:
    """Raise Refusal (400), which names a member, when the value has more than MAX_LEVELS levels."""
    if has_more_levels(value, MAX_LEVELS):
        name = next(name for name, member in value.items() if has_more_levels(member, MAX_LEVELS - 1))
        raise Refusal(400, f"{name}: is nested too deeply: an event has at most {MAX_LEVELS} levels", name)


def _has_received_at(event: JsonObject) -> bool:
    """Return whether the `receivedAt` of the event is a time, and write it as usual.

    Segment adds it to the events that it passes on.
    """
    own = instant(event["receivedAt"])
    if own is not None:
        event["receivedAt"] = iso(own)
    return own is not None


def _set_context(event: JsonObject, reception: Reception, ip: str) -> None:
    """Merge `context` and `integrations` with those of the batch.

    A context that is no object is none, and personas that are null are none: the reference fails on a null there.
    """
    for name in ("context", "integrations") if reception.common else ():
        common, own = reception.common.get(name), event.get(name)
        if type(common) is dict:
            event[name] = common | own if type(own) is dict else common
    context = event.get("context")
    if type(context) is not dict:
        event.pop("context", None)
        return
    if ip and "ip" not in context:
        event["context"] = context = with_ip(context, ip)
    if "personas" in context and context["personas"] is None:
        event["context"] = {name: value for name, value in context.items() if name != "personas"}


def _set_content(event: JsonObject, kind: str) -> None:
    """Check the member that the presets read; RudderStack's libraries write the traits of an identify in its context.

    A value that is empty and no object says nothing, such as the `[]` of PHP, and is removed.
    """
    name = _CONTENT[kind]
    if name is None:
        return
    value = event.get(name)
    if type(value) is dict:
        return
    if value:
        raise invalid(name, "an object", value)
    event.pop(name, None)
    if kind == "identify":
        context = event.get("context")
        traits = context.get("traits") if context else None
        if type(traits) is dict:
            event["traits"] = traits


def _set_timestamp(event: JsonObject, reception: Reception, *, has_passed: bool) -> tuple[datetime, Remark | None]:
    """Set the time of the event by the server's clock, and `originalTimestamp`, the time as the client wrote it.

    Return the time, and what is counted of it.

    An event without a time, or with a time after the receipt, gets that of the receipt. So does one whose time cannot
    be read, except in an import: Refusal (400).
    """
    sent_at = _set_sent_at(event, reception) if reception.common or "sentAt" in event else reception.sent_at
    name, given = "timestamp", event.get("timestamp")
    if given is None or given == "":
        name, given = "originalTimestamp", event.get("originalTimestamp")
        if given is None or given == "":
            event["timestamp"] = reception.received
            return reception.received_at, None
    if event.get("originalTimestamp") is None:
        event["originalTimestamp"] = given
    own = usual = canonical(given)
    if own is None:
        own = instant(given)
    if own is None:
        if reception.origin == "import":
            raise invalid(name, "a time, such as 2026-01-05T12:00:00Z, or a number of seconds since 1970", given)
        event["timestamp"] = reception.received
        return reception.received_at, "unreadable_times"
    time = own
    if sent_at is not None and not has_passed and is_of_one_clock(own, sent_at):
        client = event.get("anonymousId") or event.get("userId") or ""
        time = corrected(own, sent_at, reception.clocks.error(client, sent_at, reception.received_at))
    if time > reception.received_at and is_future(time, reception.received_at):
        event["timestamp"] = reception.received
        return reception.received_at, "future_times"
    event["timestamp"] = given if time is usual else iso(time)
    return time, None


def _set_sent_at(event: JsonObject, reception: Reception) -> datetime | None:
    """Set the `sentAt` of the batch where the event has none; return the time by the clock that is to be corrected.

    In an import that is the time of the batch, which the sender writes: that of an event belongs to the history.
    """
    own = event.get("sentAt")
    if own is None:
        if "sentAt" in reception.common:
            event["sentAt"] = reception.common["sentAt"]
    elif reception.origin == "call":
        return instant(own)
    return reception.sent_at
