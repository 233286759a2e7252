"""Track a screen of an app that a person viewed."""

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


def operation(payload: JsonObject) -> JsonObject:
    """Return the body: `screen`."""
    return person_entity(
        "screen",
        payload,
        payload.get("id"),
        payload.get("data"),
        name=payload["name"],
        id=payload.get("event_id") or None,
    )


ACTION = Action(
    slug="trackScreenView",
    title="Track Screen View",
    trigger='type = "screen"',
    effect="event",
    fields=(
        Field("id", "Person ID", default=USER_ID, names="person"),
        ANONYMOUS_ID,
        EVENT_ID,
        Field("name", "Screen name", default=path("$.name"), required=True),
        TIMESTAMP,
        EVENT_DATA,
        CONVERT_TIMESTAMP,
        *BATCHING,
    ),
    operation=operation,
    in_2021=False,
)
