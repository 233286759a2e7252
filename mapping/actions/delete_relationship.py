"""Remove the relationship between a person and an object."""

from __future__ import annotations

from mapping import identifiers
from mapping.actions.action import ANONYMOUS_ID, BATCHING, OBJECT_TYPE_ID, PERSON, Action, Field, path
from mapping.envelope import JsonObject
from mapping.operation import entity


def operation(payload: JsonObject) -> JsonObject:
    """Return the body: `delete_relationships` on the object."""
    member = identifiers.of_person(payload["person_id"], anonymous_id=payload.get("anonymous_id"))
    relationship = {} if member is None else {"identifiers": member}
    # Quirk of the reference: without an object the person is named instead. Only empty texts in a batch cause this.
    who = identifiers.of_object(payload["object_id"], payload.get("object_type_id")) or member
    return entity("object", "delete_relationships", payload, who, None, {"cio_relationships": [relationship]})


ACTION = Action(
    slug="deleteRelationship",
    title="Delete Relationship",
    trigger='event = "Relationship Deleted"',
    effect="removal",
    fields=(
        PERSON,
        ANONYMOUS_ID,
        Field("object_id", "Object ID", default=path("$.properties.objectId"), required=True, names="object"),
        OBJECT_TYPE_ID,
        *BATCHING,
    ),
    operation=operation,
    restricted=True,
)
