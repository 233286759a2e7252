"""Where an event stands on the queue: what it is ordered by, and whether it keeps a distance from its neighbours.

It is ordered by every identity it names itself, and every one that its matching subscriptions' mappings name. Two
events that share a key reach Customer.io in the order they were accepted. A device is a key too: a token that moves
from one person to another must end with the later one.

Some operations no timestamp can mend: applied too early or too late they take away the wrong thing. A merge before its
primary exists does nothing, a deletion that is overtaken removes what came after it. Events that come to one of these
stand apart; a merge makes two identities one from there on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mapping.destination import Destination
from mapping.errors import Rejected
from mapping.fql import FqlError
from mapping.operation import NEEDS_COOLDOWN
from mapping.ordering_keys import own_keys, person_key, received_at_s
from mapping.privacy_requests import privacy_request_of


class OrderingInfo(NamedTuple):
    """The event's distinct ordering keys; whether it and the events sharing a key wait for the cooldown; and, for a
    merge, the key of the secondary and the key of the primary: later events with the first key get the second as well.
    """

    keys: tuple[str, ...]
    needs_cooldown: bool = False
    join: tuple[str, str] | None = None


def ordering_keys(event: Any, destination: Destination) -> tuple[str, ...]:
    """Return the distinct keys of the event, those to be ignored too; empty for what names nobody; never raises."""
    return _place(event, destination).keys


def ordering_info(event: Any, destination: Destination) -> OrderingInfo:
    """Return where the event stands; never raises."""
    place, delivery = _place(event, destination), destination.delivery
    if delivery.ignored_keys:
        place = place._replace(keys=tuple(key for key in place.keys if key not in delivery.ignored_keys))
    return place._replace(needs_cooldown=True) if delivery.order == "applied" else place


def _place(event: Any, destination: Destination) -> OrderingInfo:
    if type(event) is not dict:
        return OrderingInfo(())
    scheme = destination.identifiers
    order = privacy_request_of(event)
    if order is not None:
        return OrderingInfo(order.person.keys(scheme), True)
    keys = own_keys(event, scheme)
    needs_cooldown, join = False, None
    for subscription in destination.candidates(event).placing:
        try:
            if not subscription.matches(event):
                continue
            needs_cooldown = needs_cooldown or subscription.effect in NEEDS_COOLDOWN
            for identity in subscription.identities:
                key = identity(event, scheme)
                if key is not None:
                    keys[key] = None
            if subscription.effect == "merge" and join is None:
                payload = subscription.payload(event, received_at_s(event))
                join = person_key(payload["secondary"], scheme), person_key(payload["primary"], scheme)
        except (Rejected, FqlError, RecursionError):
            continue
    return OrderingInfo(tuple(keys), needs_cooldown, join)
