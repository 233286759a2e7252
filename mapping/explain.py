"""Explain the translation of an event: for each subscription whether it matches, why not, and what it sends.

The event tester shows this. The operations are those that `translate` returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from mapping.destination import TYPES_AFTER_2021, Destination
from mapping.envelope import JsonObject
from mapping.errors import InvalidMapping, Rejected
from mapping.fql import Comparison, Condition, FqlError, Group, parse
from mapping.operation import Operation
from mapping.ordering import OrderingInfo, ordering_info
from mapping.privacy_requests import operations_of, privacy_request_of
from mapping.subscription import Subscription
from mapping.translation import as_rejected, delivered_operation_of, filtered


@dataclass(frozen=True, slots=True)
class Unmet:
    """A condition of a trigger that does not hold: its text, and the actual value in the event."""

    condition: str
    actual: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The result of one subscription for an event."""

    subscription: str
    action: str
    trigger: str
    matched: bool = False
    unmet: tuple[Unmet, ...] = ()  # why it does not match: all of these conditions would have to hold
    reason: str | None = None  # any other reason: it is disabled, or its action does not apply to the event
    payload: JsonObject | None = None  # the result of the mapping
    operation: Operation | None = None
    errors: tuple[str, ...] = ()  # why it matches but makes no operation


@dataclass(frozen=True, slots=True)
class Explanation:
    """The result of all subscriptions of a destination for an event."""

    event: JsonObject | None  # after the filters; None when it is filtered
    ordering: OrderingInfo
    decisions: tuple[Decision, ...]
    filtered: str | None = None  # why no subscription gets it

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations of all decisions, in order."""
        return tuple(decision.operation for decision in self.decisions if decision.operation is not None)


def explain(event: JsonObject, destination: Destination, now_s: float) -> Explanation:
    """Return the explanation of an event. `now_s`: Unix seconds. Never raises."""
    request = privacy_request_of(event)
    if request is not None:
        decisions = tuple(_decision_of_request(operation) for operation in operations_of(request))
        return Explanation(event, ordering_info(event, destination), decisions)
    kept, reason = filtered(event, destination)
    decisions = ()
    if kept is not None:
        decisions = tuple(_decision(each, kept, destination, now_s) for each in destination.subscriptions)
    return Explanation(kept, ordering_info(event, destination), decisions, reason)


def _decision_of_request(operation: Operation) -> Decision:
    """Return the decision for one operation of a privacy request, which no subscription makes."""
    return Decision(
        subscription="Deletion request", action=operation.action, trigger="", matched=True, operation=operation
    )


def _decision(subscription: Subscription, event: JsonObject, destination: Destination, now_s: float) -> Decision:
    decide = partial(
        Decision,
        subscription=subscription.name,
        action=str(subscription.slug),
        trigger=str(subscription.trigger),
    )
    kind = event.get("type")
    if not subscription.enabled:
        return decide(reason="it is disabled")
    if subscription.fault is not None or subscription.action is None:
        return decide(reason=subscription.fault or "there is no such action")
    if destination.compatibility == "2021" and isinstance(kind, str) and kind in TYPES_AFTER_2021:
        return decide(reason=f'{kind} events send nothing with compatibility = "2021"')
    try:
        if not subscription.matches(event):
            return decide(unmet=tuple(unmet(parse(str(subscription.trigger)), event)))
        absent = subscription.absent_field(event)
        if absent is not None:
            return decide(matched=True, reason=f"not applicable: the event has no {absent}")
        payload = subscription.payload(event, now_s)
        operation = delivered_operation_of(subscription, event, payload, now_s)
        return decide(matched=True, payload=payload, operation=operation)
    except (Rejected, FqlError, RecursionError) as error:
        rejected = as_rejected(error)
        texts = rejected.messages if isinstance(rejected, InvalidMapping) else (str(rejected),)
        return decide(matched=True, errors=tuple(texts))


def unmet(condition: Condition, event: JsonObject) -> Iterator[Unmet]:
    """Yield the conditions that do not hold for the event: the first of those joined by `and`, all joined by `or`."""
    match condition:
        case Group("and", children):
            failing = next((child for child in children if not child.predicate()(event)), None)
            if failing is not None:
                yield from unmet(failing, event)
        case Group(_, children):
            for child in children:
                yield from unmet(child, event)
        case Comparison():
            yield Unmet(condition.to_fql(), condition.lookup()(event))
