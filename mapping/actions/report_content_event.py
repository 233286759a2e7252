"""Track that a visitor viewed or clicked in-app content. The only identifier is the anonymous id."""

from __future__ import annotations

from mapping.actions.action import (
    ANONYMOUS_ID,
    BATCHING,
    CONVERT_TIMESTAMP,
    EVENT_DATA,
    TIMESTAMP,
    Action,
    Field,
    path,
)
from mapping.envelope import JsonObject
from mapping.operation import person_entity


def operation(payload: JsonObject) -> JsonObject:
    """Return the body: `viewed_content` or `clicked_content`, as the payload says."""
    kind, data = payload["actionType"], payload.get("data")
    if data is not None and data.get("actionType"):
        data = {key: value for key, value in data.items() if key != "actionType"}
    return person_entity(kind, payload, None, data, name=kind)


ACTION = Action(
    slug="reportContentEvent",
    title="Report Content Event",
    trigger='event = "Report Content Event"',
    effect="report",
    fields=(
        ANONYMOUS_ID,
        Field(
            "actionType",
            "Action Type",
            default=path("$.properties.actionType"),
            required=True,
            choices=("viewed_content", "clicked_content"),
        ),
        TIMESTAMP,
        EVENT_DATA,
        CONVERT_TIMESTAMP,
        *BATCHING,
    ),
    operation=operation,
)
