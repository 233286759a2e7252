"""Merge a person (the secondary) into another (the primary), who remains."""

from __future__ import annotations

from mapping import identifiers
from mapping.actions.action import BATCHING, USER_ID, Action, Field, path
from mapping.envelope import JsonObject


def operation(payload: JsonObject) -> JsonObject:
    """Return the body: `merge` of the secondary into the primary."""
    people = {name: identifiers.of_person(payload[name]) for name in ("primary", "secondary")}
    return {"type": "person", "action": "merge", **{name: who for name, who in people.items() if who is not None}}


ACTION = Action(
    slug="mergePeople",
    title="Merge People",
    trigger='type = "alias"',
    effect="merge",
    fields=(
        Field("primary", "Primary User", default=USER_ID, required=True, names="person"),
        Field("secondary", "Secondary User", default=path("$.previousId"), required=True, names="person"),
        *BATCHING,
    ),
    operation=operation,
    restricted=True,
)
