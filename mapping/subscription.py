"""A subscription: which events it selects (trigger), what is done with them (action), and the inputs (mapping).

It is compiled once: the trigger to a predicate, the mapping to a function from event to payload.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

from mapping.actions import ACTIONS, Action
from mapping.envelope import JsonObject
from mapping.fql import FqlError, parse
from mapping.operation import Effect
from mapping.ordering_keys import Identity, compile_identities
from mapping.payload import PayloadOf, compile_batch_payload, compile_payload


class SubscriptionRow(TypedDict):
    """The arguments of `compile_subscription`, from the registry of actions or a configuration."""

    name: str
    trigger: str
    slug: str
    mapping: JsonObject
    enabled: NotRequired[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription, compiled.

    `types` and `events` are the only values of an event's `type` and `event` that it can match; None is any value.
    `fault` is why the trigger is invalid, in the reference's words; such a subscription never matches. `action` is None
    if there is no such action. A configured destination has neither; `segue translate` may be given both.
    """

    index: int
    name: str
    trigger: Any
    slug: Any
    mapping: Any
    enabled: bool
    action: Action | None
    effect: Effect | None
    fault: str | None
    types: frozenset[str] | None = field(repr=False)
    events: frozenset[str] | None = field(repr=False)
    matches: Callable[[JsonObject], bool] = field(repr=False)
    payload: PayloadOf = field(repr=False)
    batch_payload: PayloadOf = field(repr=False)
    identities: tuple[Identity, ...] = field(repr=False)


def compile_subscription(
    index: int, *, name: str = "", trigger: Any, slug: Any, mapping: Any, enabled: bool = True
) -> Subscription:
    """Return the subscription. Never raises: an invalid trigger or mapping is reported for each event."""
    action = ACTIONS.get(slug) if type(slug) is str else None
    fields = action.fields if action else ()
    types: frozenset[str] | None = frozenset()
    events: frozenset[str] | None = None
    matches: Callable[[JsonObject], bool] = _never
    fault = None
    if type(trigger) is not str or not trigger:
        fault = "Failed to validate subscription"
    else:
        try:
            condition = parse(trigger)
        except FqlError as error:
            fault = f"Invalid subscription : {error.message}"
        else:
            types, events, matches = condition.types(), condition.events(), condition.predicate()
    mapping = mapping or {}
    return Subscription(
        index=index,
        name=name,
        trigger=trigger,
        slug=slug,
        mapping=mapping,
        enabled=enabled,
        action=action,
        effect=action.effect if action else None,
        fault=fault,
        types=types,
        events=events,
        matches=matches,
        payload=compile_payload(fields, mapping),
        batch_payload=compile_batch_payload(fields, mapping),
        identities=compile_identities(fields, mapping),
    )


def presets() -> list[SubscriptionRow]:
    """Return the preset of each action, in display order."""
    return [
        {"name": action.title, "trigger": action.trigger, "slug": action.slug, "mapping": action.default_mapping}
        for action in ACTIONS.values()
    ]


def _never(_event: JsonObject) -> bool:
    return False
