"""Delete a person."""

from __future__ import annotations

from mapping.actions.action import BATCHING, PERSON, Action
from mapping.envelope import JsonObject
from mapping.operation import person_entity


def operation(payload: JsonObject) -> JsonObject:
    """Return the body: `delete` on a person."""
    return person_entity("delete", payload, payload["person_id"])


ACTION = Action(
    slug="deletePerson",
    title="Delete Person",
    trigger='event = "User Deleted"',
    effect="delete",
    fields=(PERSON, *BATCHING),
    operation=operation,
    restricted=True,
)
