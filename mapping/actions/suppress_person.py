"""Delete a person and refuse its identifiers from then on."""

from __future__ import annotations

from mapping.actions.action import BATCHING, PERSON, Action
from mapping.envelope import JsonObject
from mapping.operation import person_entity


def operation(payload: JsonObject) -> JsonObject:
    """Return the body: `suppress`."""
    return person_entity("suppress", payload, payload["person_id"])


ACTION = Action(
    slug="suppressPerson",
    title="Suppress Person",
    trigger='event = "User Suppressed"',
    effect="suppress",
    fields=(PERSON, *BATCHING),
    operation=operation,
    restricted=True,
)
