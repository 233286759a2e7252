"""A subscription: which events it selects (trigger), what is done with them (action), and the inputs (mapping).

It is compiled once: the trigger to a predicate, the mapping to a function from event to payload.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

from mapping.actions import ACTIONS, Action
from mapping.directives import ROOT_DIRECTIVE, compile_member
from mapping.envelope import JsonObject
from mapping.fql import ComparedText, FqlError, parse
from mapping.operation import Effect
from mapping.ordering_keys import Identity, compile_identities
from mapping.paths import Resolver
from mapping.payload import ABSENCES, PayloadOf, compile_batch_payload, compile_payload


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
    `compared` has the texts with which the trigger compares them, when it looks at nothing else (`Group.compared`).
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
    compared: frozenset[ComparedText] | None = field(repr=False)
    matches: Callable[[JsonObject], bool] = field(repr=False)
    payload: PayloadOf = field(repr=False)
    batch_payload: PayloadOf = field(repr=False)
    identities: tuple[Identity, ...] = field(repr=False)
    applies_with: tuple[tuple[str, Resolver], ...] = field(repr=False)

    def absent_field(self, event: JsonObject) -> str | None:
        """Return the field of the event without which the action does not apply to it; None when the action applies.

        The reference refuses such an event. A field that has a mapping of its own here is not asked for.
        """
        for key, resolve in self.applies_with:
            if resolve(event) in ABSENCES:
                return key
        return None


def compile_subscription(
    index: int, *, name: str = "", trigger: Any, slug: Any, mapping: Any, enabled: bool = True
) -> Subscription:
    """Return the subscription. Never raises: an invalid trigger or mapping is reported for each event."""
    action = ACTIONS.get(slug) if type(slug) is str else None
    fields = action.fields if action else ()
    types: frozenset[str] | None = frozenset()
    events: frozenset[str] | None = None
    compared: frozenset[ComparedText] | None = None
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
            types, events, compared = condition.types(), condition.events(), condition.compared()
            matches = condition.predicate()
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
        compared=compared,
        matches=matches,
        payload=compile_payload(fields, mapping),
        batch_payload=compile_batch_payload(fields, mapping),
        identities=compile_identities(fields, mapping),
        applies_with=_applies_with(action, mapping),
    )


def _applies_with(action: Action | None, mapping: Any) -> tuple[tuple[str, Resolver], ...]:
    """Return the fields of `Action.applies_with` that have the preset's mapping."""
    if action is None or type(mapping) is not dict or ROOT_DIRECTIVE in mapping:
        return ()
    defaults = action.default_mapping
    return tuple(
        (key, compile_member(defaults[key])) for key in action.applies_with if mapping.get(key) == defaults[key]
    )


def presets() -> list[SubscriptionRow]:
    """Return the preset of each action, in display order."""
    return [
        {"name": action.title, "trigger": action.trigger, "slug": action.slug, "mapping": action.default_mapping}
        for action in ACTIONS.values()
    ]


def _never(_event: JsonObject) -> bool:
    return False
