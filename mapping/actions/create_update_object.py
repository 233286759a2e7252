"""Create or update an object, and relate a person to it."""

from __future__ import annotations

from typing import Any

from mapping import identifiers
from mapping.actions.action import ANONYMOUS_ID, BATCHING, CONVERT_TIMESTAMP, USER_ID, Action, Field, first_of, path
from mapping.envelope import JsonObject
from mapping.operation import EXEMPT_FIELD, converted, entity

_NOT_ATTRIBUTES = frozenset({"object_type_id", "objectTypeId", "relationshipAttributes"})


def operation(payload: JsonObject) -> JsonObject:
    """Return the body: `identify` on an object, `identify_anonymous` without a user id.

    Quirk of the reference: dates in the identifiers are converted as well, so the id 2024-01-01 becomes a number.
    """
    convert = converted if payload.get("convert_timestamp") else _unchanged
    user_id, anonymous_id = payload.get("user_id"), payload.get("anonymous_id")
    body: JsonObject = {"anonymous_id": convert(anonymous_id)} if anonymous_id else {}
    if EXEMPT_FIELD in payload:
        body[EXEMPT_FIELD] = convert(payload[EXEMPT_FIELD])
    named = identifiers.of_object(convert(payload["id"]), convert(payload.get("object_type_id")))
    who = named or identifiers.of_person(convert(user_id), anonymous_id=convert(anonymous_id))
    created_at = payload.get("created_at") or None
    return entity(
        "object",
        "identify" if user_id or not anonymous_id else "identify_anonymous",
        body,
        who,
        _attributes(payload, convert),
        {
            "created_at": convert(created_at),
            "cio_relationships": _relationships(payload, convert, user_id, anonymous_id),
        },
    )


def _attributes(payload: JsonObject, convert: Any) -> JsonObject | None:
    if "custom_attributes" not in payload:
        return None
    kept = {key: value for key, value in payload["custom_attributes"].items() if key not in _NOT_ATTRIBUTES}
    attributes: JsonObject = convert(kept)
    return attributes


def _relationships(payload: JsonObject, convert: Any, user_id: Any, anonymous_id: Any) -> list[JsonObject] | None:
    member = identifiers.of_person(user_id, anonymous_id=anonymous_id)
    if member is None:
        return None
    relationship: JsonObject = {"identifiers": member}
    if "relationship_attributes" in payload:
        relationship["relationship_attributes"] = convert(payload["relationship_attributes"])
    return [relationship]


def _unchanged(value: Any) -> Any:
    return value


ACTION = Action(
    slug="createUpdateObject",
    title="Create or Update Object",
    trigger='type = "group"',
    effect="object",
    fields=(
        Field("id", "Object ID", default=path("$.groupId"), required=True, names="object"),
        Field("created_at", "Created At", default=first_of("$.traits.created_at", "$.traits.createdAt")),
        Field("custom_attributes", "Object Attributes", "object", default=path("$.traits.objectAttributes")),
        Field(
            "relationship_attributes",
            "Relationship Attributes",
            "object",
            default=path("$.traits.relationshipAttributes"),
        ),
        Field("user_id", "User ID", default=USER_ID, names="person"),
        ANONYMOUS_ID,
        Field(
            "object_type_id",
            "Object Type Id",
            default=first_of("$.traits.object_type_id", "$.traits.objectTypeId"),
            names="object type",
        ),
        CONVERT_TIMESTAMP,
        *BATCHING,
    ),
    operation=operation,
)
