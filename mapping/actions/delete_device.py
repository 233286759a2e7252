"""Remove a device from a person."""

from __future__ import annotations

from mapping.actions.action import BATCHING, DEVICE_ID, PERSON, Action
from mapping.envelope import JsonObject
from mapping.operation import person_entity


def operation(payload: JsonObject) -> JsonObject:
    """Return the body: `delete_device`."""
    return person_entity("delete_device", payload, payload["person_id"], device={"token": payload["device_id"]})


ACTION = Action(
    slug="deleteDevice",
    title="Delete Device",
    trigger='event = "Application Uninstalled" or event = "Device Deleted"',
    effect="removal",
    fields=(
        PERSON,
        DEVICE_ID,
        *BATCHING,
    ),
    operation=operation,
    applies_with=("person_id", "device_id"),
)
