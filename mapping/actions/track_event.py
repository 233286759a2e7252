"""Track an event of a person."""

from __future__ import annotations

from mapping.actions.action import (
    ANONYMOUS_ID,
    BATCHING,
    CONVERT_TIMESTAMP,
    EVENT_DATA,
    EVENT_ID,
    TIMESTAMP,
    USER_ID,
    Action,
    Field,
    path,
)
from mapping.envelope import JsonObject
from mapping.operation import person_entity

# Events that have other actions.
_NOT_TRACKED = (
    "Application Installed",
    "Application Opened",
    "Application Uninstalled",
    "Device Created or Updated",
    "Device Deleted",
    "Relationship Deleted",
    "User Deleted",
    "User Suppressed",
    "User Unsuppressed",
    "Object Deleted",
    "Report Delivery Event",
    "Report Content Event",
)


def operation(payload: JsonObject) -> JsonObject:
    """Return the body: `event`."""
    return person_entity(
        "event", payload, payload.get("id"), payload.get("data"), name=payload["name"], id=payload.get("event_id")
    )


ACTION = Action(
    slug="trackEvent",
    title="Track Event",
    trigger='type = "track"' + "".join(f' and event != "{name}"' for name in _NOT_TRACKED),
    effect="event",
    fields=(
        Field("id", "Person ID", default=USER_ID, names="person"),
        ANONYMOUS_ID,
        Field("name", "Event Name", default=path("$.event"), required=True),
        EVENT_ID,
        TIMESTAMP,
        EVENT_DATA,
        CONVERT_TIMESTAMP,
        *BATCHING,
    ),
    operation=operation,
)
