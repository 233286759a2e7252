"""Add a device to a person or update it."""

from __future__ import annotations

from mapping.actions import platforms
from mapping.actions.action import BATCHING, CONVERT_TIMESTAMP, DEVICE_ID, PERSON, Action, Field, path
from mapping.envelope import JsonObject
from mapping.operation import person_entity


def operation(payload: JsonObject) -> JsonObject:
    """Return the body: `add_device`, with the app version among the attributes of the device."""
    attributes = payload.get("attributes", {})
    if payload.get("app_version"):
        attributes = {**attributes, "app_version": payload["app_version"]}
    device = {"token": payload["device_id"], "platform": payload["platform"], "attributes": attributes}
    if "last_used" in payload:
        device["last_used"] = payload["last_used"]
    return person_entity("add_device", payload, payload["person_id"], device=device)


def corrected(body: JsonObject) -> JsonObject:
    """Return the body with the platform as Customer.io spells it."""
    return body | {"device": body["device"] | {"platform": platforms.spelled(body["device"]["platform"])}}


ACTION = Action(
    slug="createUpdateDevice",
    title="Create or Update Device",
    trigger='event = "Application Installed" or event = "Application Opened" or event = "Device Created or Updated"',
    effect="device",
    fields=(
        PERSON,
        DEVICE_ID,
        Field("app_version", "App Version", default=path("$.context.app.version")),
        Field("platform", "Platform", default=path("$.context.device.type"), required=True),
        Field("last_used", "Last Used", default=path("$.timestamp")),
        Field("attributes", "Event Attributes", "object", default=path("$.properties")),
        CONVERT_TIMESTAMP,
        *BATCHING,
    ),
    operation=operation,
    applies_with=("person_id", "device_id"),
    corrected=corrected,
)
