"""Report the status of a message that Customer.io sent: delivered, opened, clicked and so on."""

from __future__ import annotations

import math
from typing import Any

from mapping.actions.action import BATCHING, Action, Field, path
from mapping.envelope import JsonObject
from mapping.javascript import to_number
from mapping.operation import METRICS_PATH
from mapping.timestamps import event_time

_METRICS = ("delivered", "opened", "clicked", "converted", "spammed", "bounced", "dropped", "deferred")


def operation(payload: JsonObject) -> JsonObject:
    """Return the body of a metric: `{"delivery_id", "metric", "timestamp"?, …}`."""
    body = {"delivery_id": payload["delivery_id"], "metric": payload["metric"]}
    seconds = _seconds(payload.get("timestamp"))
    if seconds is not None:
        body["timestamp"] = seconds
    body |= {name: payload[name] for name in ("recipient", "reason", "href") if payload.get(name)}
    metadata = {name: payload[name] for name in ("action_name", "action_value") if payload.get(name)}
    if metadata:
        body["metadata"] = metadata
    return body


def _seconds(timestamp: Any) -> Any:
    """Return a date in Unix seconds, a number unchanged, and digits as a number; None for all else."""
    time = event_time(timestamp)
    if type(time) is not str:
        return time
    number = to_number(time)
    if math.isnan(number):
        return None
    return int(number) if number.is_integer() else number


ACTION = Action(
    slug="reportDeliveryEvent",
    title="Report Delivery Event",
    trigger='event = "Report Delivery Event"',
    effect="report",
    fields=(
        Field("delivery_id", "Delivery ID", default=path("$.properties.deliveryId"), required=True),
        Field("metric", "Metric", default=path("$.properties.metric"), required=True, choices=_METRICS),
        Field("recipient", "Recipient", default=path("$.properties.recipient")),
        Field("reason", "Reason", default=path("$.properties.reason")),
        Field("href", "Href", default=path("$.properties.href")),
        Field("action_name", "Action Name", default=path("$.properties.actionName")),
        Field("action_value", "Action Value", default=path("$.properties.actionValue")),
        Field("timestamp", "Timestamp", "datetime", default=path("$.timestamp")),
        *BATCHING,
    ),
    operation=operation,
    path=METRICS_PATH,
    timed=True,
)
