"""Where an event stands on the queue: what it is ordered by, and whether it keeps a distance from its neighbours.

Some operations no timestamp can mend: applied too early or too late they take away the wrong thing. A merge before its
primary exists does nothing, a deletion that is overtaken removes what came after it. Events that come to one of these
stand apart; a merge makes two identities one from there on.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from mapping.destination import Destination
from mapping.errors import Rejected
from mapping.forgetting import order_of
from mapping.fql import FqlError
from mapping.identities import person_key
from mapping.ordering import ordering_keys

TAKING_AWAY: Final = frozenset(
    {
        "deleteDevice",
        "deleteObject",
        "deletePerson",
        "deleteRelationship",
        "mergePeople",
        "suppressPerson",
        "unsuppressPerson",
    }
)


class Placement(NamedTuple):
    """An event's ordering keys, whether it stands `apart`, and for a merge the key that is merged away and the key of
    who remains: whatever comes later with the first belongs into the lane of the second as well."""

    keys: tuple[str, ...]
    apart: bool = False
    join: tuple[str, str] | None = None


def placement(event: Any, destination: Destination) -> Placement:
    """Return where the event stands; never raises."""
    keys = ordering_keys(event, destination)
    ignored = destination.delivery.ignored_keys
    if ignored:
        keys = tuple(key for key in keys if key not in ignored)
    takes_away, join = _barrier(event, destination)
    return Placement(keys, takes_away or destination.delivery.order == "applied", join)


def _barrier(event: Any, destination: Destination) -> tuple[bool, tuple[str, str] | None]:
    """Return whether the event takes something away, and what a merge joins."""
    if type(event) is not dict:
        return False, None
    takes_away = order_of(event) is not None
    for subscription in destination.candidates(event):
        if subscription.slug not in TAKING_AWAY:
            continue
        try:
            if not subscription.matches(event):
                continue
            takes_away = True
            if subscription.slug == "mergePeople":
                payload, scheme = subscription.payload(event), destination.identifiers
                return True, (person_key(payload["secondary"], scheme), person_key(payload["primary"], scheme))
        except (Rejected, FqlError, RecursionError):
            continue
    return takes_away, None
