"""Restricted actions: those that not every source may run, as they take data or people away from Customer.io.

They are merges, deletions of people, objects and relationships, and suppression in both directions. Segment does the
same for people that its workspace deletes or suppresses: no write key can (segmentio/segment-docs,
src/privacy/user-deletion-and-suppression.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from mapping.actions import ACTIONS
from mapping.destination import Destination
from mapping.envelope import JsonObject
from mapping.fql import FqlError
from mapping.subscription import Subscription
from mapping.translation import filtered

RESTRICTED: Final = tuple(slug for slug, action in ACTIONS.items() if action.restricted)


class Restrictions:
    """The restricted actions of some destinations, but for those that are `allowed`, by their slugs.

    As in `translate`, an event runs the action of each enabled subscription that it matches after the filters. The
    deletion request, `DELETION`, runs no subscription.
    """

    def __init__(self, destinations: Iterable[Destination], allowed: Collection[str]) -> None:
        self._allowed = frozenset(allowed)
        self._destinations = tuple(each for each in destinations if any(self._restricted(each.subscriptions)))
        restricted = [found for each in self._destinations for found in self._restricted(each.subscriptions)]
        # Most events are none of these names and types, so no subscription is looked for.
        self._names = frozenset(name for each in restricted for name in each.events or ())
        by_type = [each.types for each in restricted if each.events is None]
        self._types = frozenset(kind for types in by_type for kind in types or ())
        self._are_of_any = None in by_type

    def action(self, event: JsonObject) -> str | None:
        """Return the slug of an action that the event would run; None without one. Its `type` is a text."""
        name = event.get("event")
        if event["type"] in self._types or (type(name) is str and name in self._names) or self._are_of_any:
            return next((slug for each in self._destinations if (slug := self._action_at(each, event))), None)
        return None

    def _action_at(self, destination: Destination, event: JsonObject) -> str | None:
        delivered, _ = filtered(event, destination)
        if delivered is None:
            return None
        for subscription in self._restricted(destination.candidates(delivered).all):
            try:
                if subscription.matches(delivered) and subscription.absent_field(delivered) is None:
                    return str(subscription.slug)
            except FqlError:
                continue
            except RecursionError:  # a worker, with a longer stack, may come to another result
                return str(subscription.slug)
        return None

    def _restricted(self, subscriptions: Iterable[Subscription]) -> Iterator[Subscription]:
        for each in subscriptions:
            is_live = each.enabled and each.fault is None and each.action is not None
            if is_live and each.slug in RESTRICTED and each.slug not in self._allowed:
                yield each
