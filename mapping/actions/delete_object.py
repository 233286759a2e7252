"""Delete an object."""

from __future__ import annotations

from mapping import identifiers
from mapping.actions.action import BATCHING, OBJECT_TYPE_ID, Action, Field, path
from mapping.envelope import JsonObject
from mapping.operation import entity


def operation(payload: JsonObject) -> JsonObject:
    """Return the body: `delete` on an object."""
    who = identifiers.of_object(payload.get("object_id"), payload.get("object_type_id"))
    return entity("object", "delete", payload, who, None, {})


ACTION = Action(
    slug="deleteObject",
    title="Delete Object",
    trigger='event = "Object Deleted"',
    effect="removal",
    fields=(
        Field("object_id", "Object ID", default=path("$.properties.objectId"), names="object"),
        OBJECT_TYPE_ID,
        *BATCHING,
    ),
    operation=operation,
    restricted=True,
)
