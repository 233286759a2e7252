"""Create or update a person, and relate the person to an object."""

from __future__ import annotations

from mapping.actions.action import (
    ANONYMOUS_ID,
    BATCHING,
    CONVERT_TIMESTAMP,
    TIMESTAMP,
    Action,
    Field,
    first_of,
    path,
)
from mapping.envelope import JsonObject
from mapping.identifiers import DEFAULT_OBJECT_TYPE
from mapping.operation import person_entity

# Traits that are fields. Quirk of the reference: `objectId` is a field and stays an attribute.
_NOT_ATTRIBUTES = frozenset({"createdAt", "created_at", "object_type_id", "objectTypeId", "relationshipAttributes"})


def operation(payload: JsonObject) -> JsonObject:
    """Return the body: `identify`; traits that are fields of their own are no attributes."""
    traits = payload.get("custom_attributes", {})
    attributes = {key: value for key, value in traits.items() if key not in _NOT_ATTRIBUTES}
    for name in ("created_at", "email"):
        if payload.get(name):
            attributes[name] = payload[name]
    return person_entity("identify", payload, payload.get("id"), attributes, cio_relationships=_relationships(payload))


def _relationships(payload: JsonObject) -> list[JsonObject] | None:
    if not payload.get("group_id"):
        return None
    relationship = {
        "identifiers": {
            "object_type_id": payload.get("object_type_id", DEFAULT_OBJECT_TYPE),
            "object_id": payload["group_id"],
        }
    }
    if "relationship_attributes" in payload:
        relationship["relationship_attributes"] = payload["relationship_attributes"]
    return [relationship]


ACTION = Action(
    slug="createUpdatePerson",
    title="Create or Update Person",
    trigger='type = "identify"',
    effect="update",
    fields=(
        Field("id", "Person ID", default=first_of("$.userId", "$.traits.email"), names="person"),
        ANONYMOUS_ID,
        Field("email", "Email Address", default={"@template": "{{traits.email}}"}, names="email"),
        Field("created_at", "Created At", default=first_of("$.traits.created_at", "$.traits.createdAt")),
        Field("group_id", "Object ID", default=path("$.traits.objectId")),
        Field("custom_attributes", "Person Attributes", "object", default=path("$.traits")),
        Field(
            "relationship_attributes",
            "Relationship Attributes",
            "object",
            default=path("$.traits.relationshipAttributes"),
        ),
        TIMESTAMP,
        CONVERT_TIMESTAMP,
        Field("object_type_id", "Object Type Id", default=first_of("$.traits.object_type_id", "$.traits.objectTypeId")),
        *BATCHING,
    ),
    operation=operation,
)
