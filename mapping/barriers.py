"""Events that no timestamp can mend: applied too early or too late they take away the wrong thing.

A merge before its primary exists does nothing, a deletion that is overtaken removes what came after it. Such events
keep a distance to whatever shares an ordering key with them; a merge makes two identities one from there on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mapping.destination import Destination
from mapping.errors import Rejected
from mapping.fql import FqlError
from mapping.identities import person_key

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


@dataclass(frozen=True, slots=True)
class Barrier:
    """The event takes something away. `join`: the key merged away and the key of the person who remains."""

    join: tuple[str, str] | None = None


def barrier(event: Any, destination: Destination) -> Barrier | None:
    """Return what makes the event a barrier, None for the others, which are nearly all; never raises."""
    if type(event) is not dict:
        return None
    found = None
    for subscription in destination.candidates(event):
        if subscription.slug not in TAKING_AWAY:
            continue
        try:
            if not subscription.matches(event):
                continue
            found = found or Barrier()
            if subscription.slug == "mergePeople":
                payload = subscription.payload(event)
                scheme = destination.identifiers
                primary, secondary = (person_key(payload[name], scheme) for name in ("primary", "secondary"))
                return Barrier((secondary, primary))
        except (Rejected, FqlError, RecursionError):
            continue
    return found
