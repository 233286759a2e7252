"""One event to the operations at Customer.io: filtered, mapped, validated.

Pure and total: the same event, destination and clock always give the same translation, and no JSON makes it raise.
"""

from __future__ import annotations

import math
from typing import Any

from mapping.destination import Destination
from mapping.envelope import JsonObject
from mapping.errors import EngineFault, InvalidMapping, Rejected
from mapping.filters import rules
from mapping.fql import FqlError
from mapping.javascript import UNDEFINED
from mapping.operation import Failure, Operation, Translation
from mapping.privacy_requests import operations, privacy_request_of
from mapping.subscription import Subscription


def translate(event: Any, destination: Destination, now_s: float) -> Translation:
    """Return what the event comes to, in the order of the subscriptions. `now_s`: Unix seconds; only a delivery report
    without a time needs it. What is no object matches nothing."""
    if type(event) is not dict:
        return Translation((), ())
    order = privacy_request_of(event)
    if order is not None:
        return Translation(operations(order), ())
    if destination.filters:
        left = rules.apply(destination.filters, event)
        if left is None:
            return Translation((), ())
        event = left
    made: list[Operation] = []
    failures: list[Failure] = []
    for subscription in destination.candidates(event).all:
        try:
            if subscription.matches(event):
                made.append(operation_of(subscription, event, subscription.payload(event, now_s), now_s))
        except (Rejected, FqlError, RecursionError) as error:
            failures.append(_failure(subscription, as_rejected(error)))
    return Translation(tuple(made), tuple(failures))


def operation_of(subscription: Subscription, event: Any, payload: JsonObject, now_s: float) -> Operation:
    """Return the operation that the subscription's action makes of a payload."""
    action = subscription.action
    assert action is not None
    if type(event) is dict and event.get("context", UNDEFINED) is None:
        # Quirk of the reference: it looks for an audience in the context of every event, and dies of a null one.
        raise EngineFault("the event's context is null")
    body = action.operation(payload)
    if action.timed:
        body.setdefault("timestamp", math.floor(now_s))
    return Operation(subscription.index, action.slug, action.effect, action.path, body, payload)


def as_rejected(error: Rejected | FqlError | RecursionError) -> Rejected:
    """Return the error in the reference's terms: a trigger that cannot be evaluated and an event nested too deeply
    are its engine's."""
    if isinstance(error, Rejected):
        return error
    if isinstance(error, FqlError):
        return EngineFault(error.message)
    return EngineFault("Maximum call stack size exceeded", "RangeError")


def _failure(subscription: Subscription, error: Rejected) -> Failure:
    message = " ".join(error.messages) if isinstance(error, InvalidMapping) else str(error)
    return Failure(subscription.index, subscription.name, str(subscription.slug), error.error_class, message, error)
