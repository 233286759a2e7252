"""What the report of shadow events counts."""

from __future__ import annotations

import json
from typing import Any

import pytest

import mapping
from console.moving import report
from ledger.rows import Row
from tests.secrets import CREDENTIALS

DESTINATION = mapping.destinations({"destinations": {"a": CREDENTIALS}})["a"]
DEVICE = {"device": {"token": "t", "type": "ios"}}


def track(event: str, **properties: Any) -> dict[str, Any]:
    """Return an event that runs the preset for its name."""
    return {"type": "track", "event": event, "userId": "1", "properties": properties, "context": DEVICE}


EVENTS = [
    {"type": "identify", "userId": "1", "traits": {"objectId": "o"}},
    {"type": "identify", "anonymousId": "a", "traits": {"plan": "pro"}},
    {"type": "page", "userId": "1", "properties": {"url": "https://shop.example/"}},
    {"type": "screen", "userId": "1", "name": "Cart"},
    {"type": "group", "userId": "1", "groupId": "g", "traits": {"name": "Initrode"}},
    {"type": "group", "anonymousId": "a", "groupId": "g", "traits": {}},
    {"type": "alias", "userId": "1", "previousId": "2"},
    {"type": "delete", "userId": "1"},
    *map(track, ("Order Placed", "User Deleted", "User Suppressed", "User Unsuppressed")),
    *map(track, ("Application Installed", "Application Uninstalled")),
    track("Object Deleted", objectId="o"),
    track("Relationship Deleted", objectId="o"),
    track("Report Delivery Event", deliveryId="d", metric="opened"),
]


def rows(event: dict[str, Any]) -> list[Row]:
    """Return the rows of a shadow event in the ledger."""
    found = mapping.translate(event, DESTINATION, 0.0)
    assert not found.failures
    assert found.operations
    return [
        Row(
            **dict.fromkeys(Row.__dataclass_fields__, None)  # type: ignore[arg-type]
            | {"message_id": "m", "sent_ms": 1, "sequence": 1, "outcome": "shadowed", "reason": "x"}
            | {"path": operation.path, "body": json.dumps(operation.body)}
        )
        for operation in found.operations
    ]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event.get("event", event["type"])))
def test_no_operation_of_a_preset_counts_as_refused_by_the_service(event: dict[str, Any]) -> None:
    found = report.gather(rows(event), "a")

    assert found["events"] == 1
    assert found["refused_by_customerio"] == []
