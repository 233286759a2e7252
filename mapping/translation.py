"""Translate an event to operations: filter it, match subscriptions, map, validate.

Pure and total: the same event, destination and time always give the same translation, and no JSON value raises.

Three things differ from the reference, whose results `reference_results` returns. The sender's `integrations` and the
filters of the destination are applied. An action that does not apply to an event is skipped. Operations are corrected.
"""

from __future__ import annotations

import math
from typing import Any

from mapping import filters
from mapping.destination import Destination
from mapping.envelope import JsonObject
from mapping.errors import EngineFault, InvalidMapping, Rejected
from mapping.filters.integrations import exclusion
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
    if destination.filters or "integrations" in event:
        event, reason = filtered(event, destination)
        if event is None:
            return Translation((), (), reason)
    operations: list[Operation] = []
    failures: list[Failure] = []
    not_applicable: list[str] = []
    for subscription in destination.candidates(event).all:
        try:
            if not subscription.matches(event):
                continue
            if subscription.applies_with and subscription.absent_field(event) is not None:
                not_applicable.append(subscription.name)
                continue
            operations.append(delivered_operation_of(subscription, event, subscription.payload(event, now_s), now_s))
        except (Rejected, FqlError, RecursionError) as error:
            failures.append(_failure(subscription, as_rejected(error)))
    # In half the time of `Translation(…)`; as below.
    return tuple.__new__(Translation, (tuple(operations), tuple(failures), None, tuple(not_applicable)))


def filtered(event: JsonObject, destination: Destination) -> tuple[JsonObject | None, str | None]:
    """Return the event as the subscriptions get it; None and the reason when they do not get it.

    The sender's `integrations` come first, then the filters of the destination.
    """
    reason = exclusion(event, destination.integration_names)
    if reason is not None:
        return None, reason
    if not destination.filters:
        return event, None
    kept = filters.apply(destination.filters, event)
    return (None, f"filter: {kept.name}") if isinstance(kept, filters.Filter) else (kept, None)


def delivered_operation_of(subscription: Subscription, event: Any, payload: JsonObject, now_s: float) -> Operation:
    """Return the operation with the changes that Customer.io needs and the reference does not make. Raises Rejected."""
    operation = operation_of(subscription, event, payload, now_s)
    action = subscription.action
    if action is None or action.corrected is None:
        return operation
    return operation._replace(body=action.corrected(operation.body))


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
    values = (subscription.index, action.slug, action.effect, action.path, body, payload)
    return tuple.__new__(Operation, values)


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
