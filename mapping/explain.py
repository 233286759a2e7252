"""Why an event comes to what it comes to: for each subscription what it decided, and which condition decided it.

What the event tester shows. The operations are those of `translate`, the payloads those they are made of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from mapping.destination import TYPES_AFTER_2021, Destination
from mapping.envelope import JsonObject
from mapping.errors import InvalidMapping, Rejected
from mapping.filters import rules
from mapping.fql import Comparison, Condition, FqlError, Group, parse
from mapping.operation import Operation
from mapping.ordering import OrderingInfo, ordering_info
from mapping.privacy_requests import operations, privacy_request_of
from mapping.subscription import Subscription
from mapping.translation import as_rejected, operation_of


@dataclass(frozen=True, slots=True)
class Unmet:
    """A condition of a trigger that does not hold: its text, and what the event has there instead."""

    condition: str
    actual: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one subscription does with the event."""

    subscription: str
    action: str
    trigger: str
    matched: bool = False
    unmet: tuple[Unmet, ...] = ()  # why it does not match: all of these would have to change
    note: str | None = None  # any other reason: it is switched off, or events of this type are not accepted
    payload: JsonObject | None = None  # the result of the mapping
    operation: Operation | None = None
    errors: tuple[str, ...] = ()  # why there is no operation though it matched


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the whole destination does with the event."""

    event: JsonObject | None  # as the filters leave it; None when one drops it
    ordering: OrderingInfo
    decisions: tuple[Decision, ...]

    @property
    def operations(self) -> tuple[Operation, ...]:
        return tuple(one.operation for one in self.decisions if one.operation is not None)


def explain(event: JsonObject, destination: Destination, now_s: float) -> Explanation:
    """Return what the event comes to, and why; `now_s`: Unix seconds. Never raises."""
    request = privacy_request_of(event)
    if request is not None:
        decisions = tuple(_decision_of_request(operation) for operation in operations(request))
        return Explanation(event, ordering_info(event, destination), decisions)
    filtered = rules.apply(destination.filters, event)
    decisions = ()
    if filtered is not None:
        decisions = tuple(_decision(one, filtered, destination, now_s) for one in destination.subscriptions)
    return Explanation(filtered, ordering_info(event, destination), decisions)


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
        return decide(note="it is switched off")
    if subscription.fault is not None or subscription.action is None:
        return decide(note=subscription.fault or "there is no such action")
    if destination.compatibility == "2021" and isinstance(kind, str) and kind in TYPES_AFTER_2021:
        return decide(note=f'{kind} events send nothing with compatibility = "2021"')
    try:
        if not subscription.matches(event):
            return decide(unmet=tuple(unmet(parse(str(subscription.trigger)), event)))
        payload = subscription.payload(event, now_s)
        return decide(matched=True, payload=payload, operation=operation_of(subscription, event, payload, now_s))
    except (Rejected, FqlError, RecursionError) as error:
        rejected = as_rejected(error)
        texts = rejected.messages if isinstance(rejected, InvalidMapping) else (str(rejected),)
        return decide(matched=True, errors=tuple(texts))


def unmet(condition: Condition, event: JsonObject) -> Iterator[Unmet]:
    """Yield the conditions that keep the trigger from matching: the first of those joined by `and`, all of those
    joined by `or`."""
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
