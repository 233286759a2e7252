"""Track a page that a person viewed. The URL is the name of the page."""

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
    """Return the body: `page`."""
    return person_entity(
        "page", payload, payload.get("id"), payload.get("data"), name=payload["url"], id=payload.get("event_id") or None
    )


ACTION = Action(
    slug="trackPageView",
    title="Track Page View",
    trigger='type = "page"',
    effect="event",
    fields=(
        Field("id", "Person ID", default=USER_ID, names="person"),
        ANONYMOUS_ID,
        EVENT_ID,
        Field("url", "Page URL", default=path("$.properties.url"), required=True),
        TIMESTAMP,
        EVENT_DATA,
        CONVERT_TIMESTAMP,
        *BATCHING,
    ),
    operation=operation,
)
