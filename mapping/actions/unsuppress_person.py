"""Accept the identifiers of a suppressed person again."""

from __future__ import annotations

from mapping.actions.action import BATCHING, PERSON, Action
from mapping.envelope import JsonObject
from mapping.operation import person_entity


def operation(payload: JsonObject) -> JsonObject:
    """Return the body: `unsuppress`."""
    return person_entity("unsuppress", payload, payload["person_id"])


ACTION = Action(
    slug="unsuppressPerson",
    title="Unsuppress Person",
    trigger='event = "User Unsuppressed"',
    effect="unsuppress",
    fields=(PERSON, *BATCHING),
    operation=operation,
    restricted=True,
)
