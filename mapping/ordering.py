"""What an event is ordered by: every identity it names itself, and every one that its matching subscriptions' mappings
name.

Two events that share a key reach Customer.io in the order they were accepted. A device is a key too: a token that moves
from one person to another must end with the later one.
"""

from __future__ import annotations

from typing import Any

from mapping.coercion import text_of
from mapping.destination import Destination
from mapping.errors import Rejected
from mapping.event import JsonObject
from mapping.forgetting import order_of
from mapping.fql import FqlError
from mapping.identities import IdentifierScheme, email_key, person_key


def ordering_keys(event: Any, destination: Destination) -> tuple[str, ...]:
    """Return the distinct keys of the event, empty for what names nobody; never raises."""
    if type(event) is not dict:
        return ()
    scheme = destination.identifiers
    order = order_of(event)
    if order is not None:
        return order.person.keys(scheme)
    keys = _own_keys(event, scheme)
    for subscription in destination.candidates(event):
        if not subscription.identities:
            continue
        try:
            if subscription.matches(event):
                for identity in subscription.identities:
                    key = identity(event, scheme)
                    if key is not None:
                        keys[key] = None
        except (Rejected, FqlError, RecursionError):
            continue
    return tuple(keys)


def _own_keys(event: JsonObject, scheme: IdentifierScheme) -> dict[str, None]:
    """The keys of the members that name a person in every event, in order; a dict keeps each once."""
    keys: dict[str, None] = {}
    user_id = text_of(event.get("userId"))
    if user_id:
        keys[person_key(user_id, scheme)] = None
    previous_id = text_of(event.get("previousId"))
    if previous_id:
        keys[person_key(previous_id, scheme)] = None
    anonymous_id = text_of(event.get("anonymousId"))
    if anonymous_id:
        keys[f"anonymous_id:{anonymous_id}"] = None
    traits = event.get("traits")
    if type(traits) is dict and event.get("type") == "identify":
        email = text_of(traits.get("email"))
        if email and (key := email_key(email, scheme)):
            keys[key] = None
        new_id = text_of(traits.get("id"))
        if new_id:
            keys[f"id:{new_id}"] = None
    return keys
