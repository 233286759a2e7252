"""The member `integrations` of an event: which destinations its sender includes and excludes.

    {"All": false}                          excludes each destination that is not named
    {"Customer.io (Actions)": false}        excludes the destination of that name
    {"All": false, "Customer.io": true}     includes it
    {"All": false, "Customer.io": {…}}      includes it: options count as true

At Segment the platform does this, not the destination. So the reference does not look at `integrations`, and neither
does `segue translate`. Source of the rules: segmentio/segment-docs, src/guides/filtering-data.md ("Filtering with the
Integrations Object"): a name has priority over `All`, and names are case-sensitive. The page on the library for Python
writes `all` (…/libraries/server/python/index.md, "Selecting Destinations"; segmentio/analytics-python#41). Libraries
write "Segment.io": false by themselves; it is the name of another destination.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mapping.envelope import JsonObject

# Segment's names of this destination, and of the older one that it replaced.
DEFAULT_NAMES: Final = ("Customer.io (Actions)", "Actions Customerio", "Customer.io")
_ALL: Final = ("All", "all")


def exclusion(event: JsonObject, names: Iterable[str]) -> str | None:
    """Return why the sender excludes a destination with these names; None when it does not.

    `false` of one name has priority over other values of other names. Any other value but null includes the
    destination. Null, and `integrations` that are not an object, have no effect.
    """
    integrations = event.get("integrations")
    if type(integrations) is not dict or not integrations:
        return None
    values = {name: integrations[name] for name in names if integrations.get(name) is not None}
    for name, value in values.items():
        if value is False:
            return f'integrations."{name}" is false'
    if values:
        return None
    return next((f"integrations.{name} is false" for name in _ALL if integrations.get(name) is False), None)
