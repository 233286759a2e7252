"""The attributes of recent updates, which later updates of the same person repeat.

The service may apply a later update first and then ignore the earlier one as a whole. So an update repeats the
attributes of the ones before it that may not have been applied yet, and no attribute is lost.

They are the newest by the attribute clocks, as no older one is sent, and are remembered under the digest that has the
clocks of the person. History neither repeats attributes nor is repeated: its values may be older than the service's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson

from delivery.batching import Item, json_of
from delivery.prepare import Prepared
from delivery.scripts import run
from lanes import Queue
from mapping.envelope import JsonObject

# The service's limits of one update are 300 attributes and 32 KB, of which some is left for the rest of the body.
_MOST_ATTRIBUTES, _MOST_BYTES = 300, 30_000
# Identifiers are not repeated: an update that changes them has a cooldown.
_NOT_REPEATED = frozenset({"id", "email", "phone", "cio_id", "anonymous_id", "_update"})


def repeat(queue: Queue, prepared: Sequence[Prepared], window_ms: int) -> Sequence[Prepared]:
    """Return the events with updates that repeat the attributes of the same person from the last `window_ms`.

    An update's own attributes win. One that would exceed the service's limits stays as it is. A window of 0 repeats
    nothing.
    """
    if not window_ms:
        return prepared
    people = list({item.person for event in prepared if event.update for item in event.items if item.person})
    if not people:
        return prepared
    found = run(queue, "read_attributes", window_ms, *people)
    recent = {person: orjson.loads(attributes) for person, attributes in zip(people, found, strict=True) if attributes}
    if not recent:
        return prepared
    return [
        event._replace(items=tuple(_repeating(recent.get(item.person), item) for item in event.items))
        for event in prepared
    ]


def remember(queue: Queue, delivered: Iterable[Item], window_ms: int) -> None:
    """Store the attributes of these items for `window_ms`."""
    if not window_ms:
        return
    recent: dict[bytes, JsonObject] = {}
    for item in delivered:
        if item.person:
            attributes = orjson.loads(item.data).get("attributes", {})
            recent.setdefault(item.person, {}).update(
                (name, value) for name, value in attributes.items() if name not in _NOT_REPEATED
            )
    arguments = [
        part
        for person, attributes in recent.items()
        if attributes
        for part in (person, orjson.dumps(attributes))
    ]
    if arguments:
        run(queue, "remember_attributes", window_ms, *arguments)


def _repeating(recent: JsonObject | None, item: Item) -> Item:
    """Return the item with the recent attributes added, if it may have them."""
    if recent is None:
        return item
    body = orjson.loads(item.data)
    attributes = recent | body.get("attributes", {})
    data = json_of(body | {"attributes": attributes})
    fits = len(attributes) <= _MOST_ATTRIBUTES and len(data) <= _MOST_BYTES
    return item._replace(data=data, own=item.data) if fits else item
