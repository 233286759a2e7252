"""Restricted actions: those that not every source may run, as they take data or people away from Customer.io.

They are merges, deletions of people, objects and relationships, and suppression in both directions. Segment does the
same for people that its workspace deletes or suppresses: no write key can (segmentio/segment-docs,
src/privacy/user-deletion-and-suppression.md).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from mapping.actions import ACTIONS
from mapping.destination import Destination
from mapping.envelope import JsonObject
from mapping.fql import FqlError
from mapping.translation import filtered

RESTRICTED: Final = tuple(slug for slug, action in ACTIONS.items() if action.restricted)


def restricted_action(event: JsonObject, destination: Destination, allowed: Collection[str] = ()) -> str | None:
    """Return the slug of a restricted action that the event would run and that is not `allowed`; None without one.

    As in `translate`, an event runs the action of each enabled subscription that it matches after the filters. The
    deletion request, `DELETION`, runs no subscription.
    """
    subscriptions = destination.candidates(event).restricted
    if not subscriptions:
        return None
    delivered, _ = filtered(event, destination)
    if delivered is None:
        return None
    for subscription in subscriptions:
        slug = str(subscription.slug)
        try:
            if slug not in allowed and subscription.matches(delivered) and subscription.absent_field(delivered) is None:
                return slug
        except FqlError:
            continue
        except RecursionError:  # a worker, with a longer stack, may come to another result
            return slug
    return None
