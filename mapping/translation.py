"""Translate an event to operations: filter it, match subscriptions, map, validate.

Pure and total: the same event, destination and time always give the same translation, and no JSON value raises.
"""

from __future__ import annotations

import math
from typing import Any

from mapping import filters
from mapping.destination import Destination
from mapping.envelope import JsonObject
from mapping.errors import EngineFault, InvalidMapping, Rejected
from mapping.fql import FqlError
from mapping.javascript import UNDEFINED
from mapping.operation import Failure, Operation, Translation
from mapping.privacy_requests import operations_of, privacy_request_of
from mapping.subscription import Subscription


def translate(event: Any, destination: Destination, now_s: float) -> Translation:
    """Return the operations and failures of an event, in the order of the subscriptions.

    `event` may be any JSON value; only an object can match. `now_s`, in Unix seconds, is the time in Liquid templates
    and of delivery reports without one.
    """
    if type(event) is not dict:
        return Translation((), ())
    request = privacy_request_of(event)
    if request is not None:
        return Translation(operations_of(request), ())
    if destination.filters:
        filtered = filters.apply(destination.filters, event)
        if filtered is None:
            return Translation((), ())
        event = filtered
    operations: list[Operation] = []
    failures: list[Failure] = []
    for subscription in destination.candidates(event).all:
        try:
            if subscription.matches(event):
                operations.append(operation_of(subscription, event, subscription.payload(event, now_s), now_s))
        except (Rejected, FqlError, RecursionError) as error:
            failures.append(_failure(subscription, as_rejected(error)))
    return Translation(tuple(operations), tuple(failures))


def operation_of(subscription: Subscription, event: Any, payload: JsonObject, now_s: float) -> Operation:
    """Return the operation that the action of a subscription makes of a payload. Raises Rejected."""
    action = subscription.action
    assert action is not None
    if type(event) is dict and event.get("context", UNDEFINED) is None:
        # Quirk of the reference: it looks for an audience in the context of every event, and fails on null.
        raise EngineFault("the event's context is null")
    body = action.operation(payload)
    if action.timed:
        body.setdefault("timestamp", math.floor(now_s))
    return Operation(subscription.index, action.slug, action.effect, action.path, body, payload)


def as_rejected(error: Rejected | FqlError | RecursionError) -> Rejected:
    """Return the error as the reference reports it. An FqlError of an evaluation and a RecursionError are errors of its
    JavaScript engine."""
    if isinstance(error, Rejected):
        return error
    if isinstance(error, FqlError):
        return EngineFault(error.message)
    return EngineFault("Maximum call stack size exceeded", "RangeError")


def _failure(subscription: Subscription, error: Rejected) -> Failure:
    message = " ".join(error.messages) if isinstance(error, InvalidMapping) else str(error)
    return Failure(subscription.index, subscription.name, str(subscription.slug), error.error_class, message, error)
