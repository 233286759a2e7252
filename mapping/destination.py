"""A destination: a Customer.io workspace with its subscriptions, compiled once and indexed by event type and name.

`configuration` compiles destinations from TOML tables, `reference_results` from the settings of the reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple

from mapping.cutover import Cutover
from mapping.delivery import DEFAULTS, Delivery
from mapping.envelope import JsonObject
from mapping.filters import Filter, in_order
from mapping.filters.integrations import DEFAULT_NAMES
from mapping.operation import NEEDS_COOLDOWN
from mapping.ordering_keys import IdentifierScheme
from mapping.subscription import Subscription, compile_subscription, presets

Region = Literal["us", "eu"]
Compatibility = Literal["current", "2021"]

TRACK_URLS: Final[dict[Region, str]] = {"us": "https://track.customer.io", "eu": "https://track-eu.customer.io"}

# The original product (2021) does not accept events of these types.
TYPES_AFTER_2021: Final = frozenset({"group", "screen"})


class Candidates(NamedTuple):
    """The subscriptions that may match an event, in their order, and those of them that affect its ordering.

    `matches` of one whose trigger looks at the type and the name alone tests nothing: the event has these.
    """

    all: tuple[Subscription, ...]
    ordering: tuple[Subscription, ...]


_Row = dict[str | None, Candidates]


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A workspace. `batch_items` limits the items of a batch request; `subscriptions` includes the disabled ones.

    `integration_names` are the names of the destination in the `integrations` of events.
    """

    name: str
    site_id: str = field(repr=False)
    api_key: str = field(repr=False)
    region: Region
    identifiers: IdentifierScheme
    compatibility: Compatibility
    batch_items: int
    subscriptions: tuple[Subscription, ...]
    index: dict[str | None, _Row] = field(repr=False, compare=False)
    delivery: Delivery = DEFAULTS
    filters: tuple[Filter, ...] = ()  # in the order in which they are applied
    integration_names: tuple[str, ...] = DEFAULT_NAMES
    cutover: Cutover | None = None  # None: every event is sent

    @property
    def url(self) -> str:
        """The base URL of the Track API in the region."""
        return TRACK_URLS[self.region]

    def at(self, region: Region) -> Destination:
        """Return a copy of the destination in another region."""
        return replace(self, region=region)

    def candidates(self, event: JsonObject) -> Candidates:
        """Return the subscriptions that may match, by the type and the name of the event."""
        kind, name = event.get("type"), event.get("event")
        row = (self.index.get(kind) if type(kind) is str else None) or self.index[None]
        return (row.get(name) if type(name) is str else None) or row[None]


def compile_destination(
    name: str,
    subscriptions: Iterable[Subscription] | None = None,
    *,
    site_id: str = "",
    api_key: str = "",
    region: Region = "us",
    identifiers: IdentifierScheme = "email_or_id",
    compatibility: Compatibility = "current",
    batch_items: int = 100,
    delivery: Delivery = DEFAULTS,
    filters: Iterable[Filter] = (),
    integration_names: Iterable[str] = DEFAULT_NAMES,
    cutover: Cutover | None = None,
) -> Destination:
    """Return the destination with the given subscriptions, by default the presets."""
    if subscriptions is None:
        subscriptions = [compile_subscription(index, **preset) for index, preset in enumerate(presets())]
    compiled = tuple(subscriptions)
    index = _index(compiled, frozenset() if compatibility == "current" else TYPES_AFTER_2021)
    return Destination(
        name=name,
        site_id=site_id,
        api_key=api_key,
        region=region,
        identifiers=identifiers,
        compatibility=compatibility,
        batch_items=batch_items,
        subscriptions=compiled,
        index=index,
        delivery=delivery,
        filters=in_order(filters),
        integration_names=tuple(integration_names),
        cutover=cutover,
    )


def _index(subscriptions: Iterable[Subscription], refused_types: frozenset[str]) -> dict[str | None, _Row]:
    """Return the subscriptions that may match, for each event type and name in a trigger and for all others (None)."""
    live = [each for each in subscriptions if each.enabled and each.fault is None and each.action is not None]
    compared = {pair for each in live for pair in each.compared or ()}
    types: set[str | None] = {None, *refused_types, *_named(each.types for each in live)}
    types |= {text for field, text in compared if field == "event-type"}
    events: set[str | None] = {None, *_named(each.events for each in live)}
    events |= {text for field, text in compared if field == "event"}
    found = [(each, each if each.compared is None else replace(each, matches=_always)) for each in live]
    return {
        kind: {
            name: _candidates(
                candidate for each, candidate in found if kind not in refused_types and _may_match(each, kind, name)
            )
            for name in events
        }
        for kind in types
    }


def _candidates(subscriptions: Iterable[Subscription]) -> Candidates:
    found = tuple(subscriptions)
    return Candidates(found, tuple(each for each in found if each.identities or each.effect in NEEDS_COOLDOWN))


def _named(restrictions: Iterable[frozenset[str] | None]) -> set[str]:
    return {value for restriction in restrictions for value in restriction or ()}


def _may_match(subscription: Subscription, kind: str | None, name: str | None) -> bool:
    return (
        (subscription.types is None or kind in subscription.types)
        and (subscription.events is None or name in subscription.events)
        and (subscription.compared is None or subscription.matches({"type": kind, "event": name}))
    )


def _always(_event: JsonObject) -> bool:
    return True
